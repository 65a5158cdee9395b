//! modgate: a caching reverse proxy and registry for Go modules.
//!
//! `ARCHITECTURE.md` draws the way of a request. A layer uses only layers above it in this list.

pub mod module;
pub mod tlog;
pub mod protocol;
pub mod durable;
pub mod stop;
pub mod config;
pub mod observe;
pub mod store;
pub mod access;
pub mod egress;
pub mod upstream;
pub mod cache;
pub mod sumdb;
pub mod hosted;
pub mod gateway;
pub mod admin;
pub mod http;
pub mod cli;
