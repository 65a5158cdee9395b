//! The whole, from outside: real sockets, the real go command, real curl, the real gateway.
#![allow(clippy::disallowed_methods, reason = "tests log nothing")]

mod access_matrix;
mod audit;
mod backup;
mod bad_input;
mod bypass;
mod cache_bound;
mod drain;
mod first_run;
mod freshness;
mod go_command;
mod http2;
mod http_limits;
mod http_server;
mod http_toy;
mod listeners;
mod live;
mod log_ins;
mod metrics;
mod operator;
mod packages;
mod publish;
mod reload;
mod responses;
mod restart;
mod store_backup;
mod store_contract;
mod store_crash;
mod store_heal;
mod store_power;
mod support;
mod systemd;
mod tls;
mod way_out;
mod xmod;
