//! Two small modules for the first ten minutes: zips in the data directory, ready to be published.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::http::paste::{Sample, Samples};

/// The host of both.
pub(super) const HOST: &str = "go.example.com";

/// Writes both: one for the owner `default`, one for `private`.
pub(super) fn write(data_dir: &Path) -> anyhow::Result<Samples> {
    let folder = data_dir.join("samples");
    fs::create_dir_all(&folder)?;
    let hello = "// Package hello greets.\npackage hello\n\n// World is who there is to greet.\nconst World = \"Hello, world.\"\n";
    let secret = "// Package secret keeps one.\npackage secret\n\n// Answer is what nobody else should see.\nconst Answer = 42\n";
    Ok(Samples {
        public: one(&folder, "go.example.com/hello", "hello", hello)?,
        private: one(&folder, "go.example.com/secret", "secret", secret)?,
    })
}

fn one(folder: &Path, module: &'static str, name: &str, source: &str) -> anyhow::Result<Sample> {
    let path = folder.join(format!("{name}.zip"));
    let mut zip = ZipWriter::new(File::create(&path)?);
    let options = SimpleFileOptions::default();
    zip.start_file(format!("{module}@v1.0.0/go.mod"), options)?;
    write!(zip, "module {module}\n\ngo 1.21\n")?;
    zip.start_file(format!("{module}@v1.0.0/{name}.go"), options)?;
    zip.write_all(source.as_bytes())?;
    zip.finish()?;
    Ok(Sample { module, zip: path })
}
