//! The whole, from outside: real sockets, the real go command, real curl, the real gateway.

mod access_matrix;
mod backup;
mod bad_input;
mod bypass;
mod drain;
mod first_run;
mod freshness;
mod go_command;
mod http2;
mod http_limits;
mod http_server;
mod http_toy;
mod live;
mod operator;
mod publish;
mod responses;
mod store_backup;
mod store_contract;
mod store_crash;
mod store_heal;
mod store_power;
mod support;
mod tls;
mod xmod;
