//! A test environment: a directory and a few variables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use keymux::config::{Environment, LoadOptions, Loaded, load};

/// A directory with the variables that fixtures can use or set.
pub(crate) struct World {
    dir: PathBuf,
    vars: BTreeMap<String, String>,
}

impl World {
    /// Uses the files under `dir`, as if it were the working directory.
    pub(crate) fn new(dir: &Path) -> Self {
        let vars = [
            ("OPENAI_KEY", "sk-openai-key-of-the-test"),
            ("GROQ_KEY", "gsk-groq-key-of-the-test"),
            ("CLIENT_KEY", "client-key-of-the-test"),
            ("EMPTY_KEY", ""),
            ("TWO_LINES", "sk-line-one\nsk-line-two"),
            ("CREDENTIALS_DIRECTORY", "/credentials"),
        ];
        let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { dir: dir.to_owned(), vars: vars.into() }
    }

    /// Sets one more variable.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.vars.insert(name.to_owned(), value.to_owned());
    }

    /// Loads a file of the directory. Its lines `#! NAME=value` set variables, and `#! --path=value` set
    /// flags.
    pub(crate) fn load(mut self, file: &str) -> Loaded {
        let text = fs::read(self.dir.join(file)).unwrap_or_default();
        let mut overrides = Vec::new();
        for line in String::from_utf8_lossy(&text).lines() {
            let Some((name, value)) =
                line.strip_prefix("#! ").and_then(|line| line.split_once('='))
            else {
                continue;
            };
            match name.strip_prefix("--") {
                Some(path) => overrides.push((path.to_owned(), value.to_owned())),
                None => self.set(name, value),
            }
        }
        load(&LoadOptions { file: file.into(), overrides }, &self)
    }

    fn real(&self, path: &Path) -> PathBuf {
        let here = env::current_dir().unwrap();
        let path = path.strip_prefix(&here).unwrap_or(path);
        self.dir.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl Environment for World {
    fn variable(&self, name: &str) -> Option<OsString> {
        self.vars.get(name).map(OsString::from)
    }

    fn keymux_variables(&self) -> Vec<(String, String)> {
        let keymux = self.vars.iter().filter(|(name, _)| name.starts_with("KEYMUX_"));
        keymux.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(self.real(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(self.real(dir))?
            .map(|entry| entry.map(|entry| dir.join(entry.file_name())))
            .collect()
    }
}

/// Returns the path of a directory of fixtures.
pub(crate) fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config").join(name)
}
