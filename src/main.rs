//! modgate's command line: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    modgate::cli::run()
}
