//! modgate.

fn main() {}
