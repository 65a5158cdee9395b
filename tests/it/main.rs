//! The whole, from outside: real sockets, the real go command, real curl, the real gateway.

mod store_contract;
mod store_crash;
mod store_heal;
mod store_power;
mod xmod;
