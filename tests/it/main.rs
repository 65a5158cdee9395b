//! The whole, from outside: real sockets, the real go command, real curl, the real gateway.

mod http2;
mod http_limits;
mod http_server;
mod http_toy;
mod store_contract;
mod store_crash;
mod store_heal;
mod store_power;
mod tls;
mod xmod;
