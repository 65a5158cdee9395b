//! Checksum databases.

pub mod proxy;
