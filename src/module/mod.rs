//! The language of Go modules: paths, versions, go.mod files, zips and their hashes.
//!
//! Pure: no I/O but readers handed in, no clock, no async. What is judged here is judged exactly as
//! `golang.org/x/mod` judges it; `tests/it/xmod.rs` holds the two against each other.

mod quote;
mod unicode;
pub mod semver;
pub mod name;
pub mod path;
pub mod version;
pub mod major;
pub mod pattern;
pub mod go_mod;
pub mod zip;
pub mod dirhash;

pub use dirhash::H1;
pub use go_mod::GoMod;
pub use name::{OwnerName, UserName};
pub use path::{ModulePath, PathError};
pub use pattern::Pattern;
pub use quote::quote;
pub use version::{Version, VersionError};
