//! Checksum databases: the public one, whose client verifies what comes from upstream, and which is proxied for other clients; and our
//! own.

pub mod client;
mod database;
#[cfg(test)]
mod double;
mod flights;
mod heads;
pub mod log;
pub mod proxy;
mod tiles;

pub use client::{Client, LookedUp};
pub use database::{Database, Databases};
pub use heads::{Fork, HeadsError, KeepError, Side};
