//! Settings as they were written, on their way from one process to another that judges them over what it holds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::keys::PREFIX;
use super::load::{Environment, Flags, SettingsFile, load, load_text};
use super::{Config, ConfigError};

/// A settings file and the variables that go over it. It holds password hashes: `http/front.rs` takes it over `admin.sock` alone.
#[derive(Clone, Serialize, Deserialize)]
pub struct Written {
    file: Option<(PathBuf, String)>,
    variables: BTreeMap<String, String>,
}

impl Written {
    /// Reads the file that these flags and this environment name. The flags' own values are left out: none of them says anything of
    /// owners, or of what is private.
    ///
    /// # Errors
    /// The file cannot be read, or is no text.
    pub fn read(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        let file = SettingsFile::find(flags, environment)?.map(|file| (file.path, file.text));
        let variables = environment.variables.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
        // Those without `__` are the file's name, the data directory, and a token, which is nobody's business.
        let ours = variables.filter(|(name, _)| name.starts_with(PREFIX) && name.contains("__"));
        Ok(Self { file, variables: ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect() })
    }

    /// The settings that it makes.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn judge(&self) -> Result<Config, ConfigError> {
        let variables = self.variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        // Where everything is kept by default is no matter here.
        let environment = Environment { variables, root: true, system_file: None };
        let flags = Flags::default();
        let loaded = match &self.file {
            Some((path, text)) => load_text(text, path, &flags, &environment),
            None => load(&flags, &environment),
        };
        Ok(loaded?.config)
    }
}
