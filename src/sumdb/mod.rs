//! Checksum databases: the public one, proxied, and our own.

pub mod log;
pub mod proxy;
