//! The whole, from outside: real sockets, the real go command, real curl, the real gateway.

mod xmod;
