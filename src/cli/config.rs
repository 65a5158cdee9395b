//! `modgate config`: every value and where it was set; or, with `--init`, the annotated reference.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;

use super::{Global, out};
use crate::config::{Loaded, REFERENCE};

/// What to print.
#[derive(Debug, Args)]
pub struct Options {
    /// Print an annotated settings file instead, as a start for one's own
    #[arg(long)]
    init: bool,
}

/// Prints to stdout; warnings go to stderr. Settings that are wrong are the error, all that is wrong in one.
pub fn run(global: &Global, options: &Options) -> anyhow::Result<ExitCode> {
    if options.init {
        // The settings that are there may be wrong: that is no reason not to show what is right.
        out::print(REFERENCE)?;
    } else {
        let loaded = global.load(&[], &[])?;
        out::print(&values(&loaded))?;
        for warning in &loaded.warnings {
            // There is nobody left to warn if this fails.
            let _ = writeln!(io::stderr(), "warning: {warning}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn values(loaded: &Loaded) -> String {
    loaded.settings.iter().map(|setting| format!("{setting}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Flags, load};

    #[test]
    fn every_value_stands_with_its_source() {
        let flags = Flags { listen: vec!["127.0.0.1:9".into()], ..Flags::default() };
        let loaded = load(&flags, &Environment { root: true, ..Environment::default() }).unwrap();
        let out = values(&loaded);
        assert!(
            out.starts_with("data_dir = \"/var/lib/modgate\"  # default\nserver.listen = [\"127.0.0.1:9\"]  # flag --listen\n"),
            "{out}"
        );
        assert!(out.ends_with("owners.private.max_bytes = \"\"  # default\n"), "{out}");
        assert!(loaded.warnings.is_empty());
    }
}
