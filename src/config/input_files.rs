//! The files that a configuration was loaded from, their hash, and access to the system.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf, absolute};

use aws_lc_rs::digest::{Context, SHA256};

use super::pattern::Pattern;
use crate::secret::sha256;

/// The environment variables and files that loading a configuration may read.
pub trait Environment {
    /// Returns an environment variable.
    fn variable(&self, name: &str) -> Option<OsString>;
    /// Returns all environment variables that are text and whose names begin with `KEYMUX_`.
    fn keymux_variables(&self) -> Vec<(String, String)>;
    /// Returns the contents of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Returns the entries of a directory as paths that begin with it.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
}

/// The environment and file system of this process.
#[derive(Clone, Copy, Debug)]
pub struct SystemEnvironment;

/// Maximum size of a file: more than any configuration or credential needs. `/dev/zero` must not fill the memory.
const MAX_FILE_SIZE: u64 = 16 * 1024 * 1024;

impl Environment for SystemEnvironment {
    fn variable(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn keymux_variables(&self) -> Vec<(String, String)> {
        let texts = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        texts.filter(|(name, _)| name.starts_with("KEYMUX_")).collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE_SIZE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
        }
        Ok(bytes)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let real = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        fs::read_dir(real)?.map(|entry| entry.map(|entry| dir.join(entry.file_name()))).collect()
    }
}

/// The files that a configuration depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSet {
    /// Absolute paths of every file that was read or was missing: the configuration, its includes,
    /// secrets, credentials, certificates.
    pub files: BTreeSet<PathBuf>,
    /// The patterns of `include` as absolute paths, such as `/etc/keymux/conf.d/*.toml`.
    pub patterns: Vec<PathBuf>,
}

/// The files that a configuration was loaded from, with a hash of their contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFiles {
    /// The files and patterns.
    pub set: FileSet,
    /// SHA-256 over the paths and contents of all files. A missing file counts too.
    pub hash: [u8; 32],
}

impl InputFiles {
    /// Returns the value that [`InputFiles::hash`] would have with the current files. Expands the patterns
    /// again and parses nothing.
    pub fn hash_now(&self, environment: &dyn Environment) -> [u8; 32] {
        let mut files = self.set.files.clone();
        for pattern in &self.set.patterns {
            files.extend(expand(pattern, environment));
        }
        let digests = files.into_iter().map(|file| {
            let digest = environment.read(&file).ok().map(|bytes| sha256(&bytes));
            (file, digest)
        });
        combine(&digests.collect())
    }
}

/// Returns the first 12 hex digits of the SHA-256 of the texts.
pub(super) fn short_hash<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let mut context = Context::new(&SHA256);
    texts.for_each(|text| context.update(text.as_bytes()));
    let digits = context.finish().as_ref()[..6]
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .collect::<Vec<u8>>();
    digits.into_iter().filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn combine(digests: &BTreeMap<PathBuf, Option<[u8; 32]>>) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for (path, digest) in digests {
        context.update(path.as_os_str().as_encoded_bytes());
        context.update(&[0, u8::from(digest.is_some())]);
        context.update(&digest.unwrap_or_default());
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// Reads files and records their paths and hashes.
pub(super) struct Reader<'a> {
    pub(super) environment: &'a dyn Environment,
    digests: BTreeMap<PathBuf, Option<[u8; 32]>>,
    patterns: Vec<PathBuf>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(environment: &'a dyn Environment) -> Self {
        Self { environment, digests: BTreeMap::new(), patterns: Vec::new() }
    }

    /// Returns the contents of a file.
    pub(super) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let bytes = self.environment.read(path);
        let digest = bytes.as_ref().ok().map(|bytes| sha256(bytes));
        // If a file changes between two reads, the hash of the first counts: the next comparison then
        // detects the change.
        self.digests.entry(absolute_path(path)).or_insert(digest);
        bytes
    }

    /// Returns the files that match a pattern, sorted by name.
    pub(super) fn expand(&mut self, pattern: &Path) -> Vec<PathBuf> {
        self.patterns.push(absolute_path(pattern));
        expand(pattern, self.environment)
    }

    pub(super) fn finish(self) -> InputFiles {
        let hash = combine(&self.digests);
        let files = self.digests.into_keys().collect();
        InputFiles { set: FileSet { files, patterns: self.patterns }, hash }
    }
}

/// Returns the absolute path, which identifies a file.
pub(super) fn absolute_path(path: &Path) -> PathBuf {
    absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Returns the paths that match, sorted. `*` matches any characters within one name, except the dot at the
/// beginning of a hidden name: editors and mounted volumes keep their own files under such names.
fn expand(pattern: &Path, environment: &dyn Environment) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    let mut has_wildcard = false;
    for component in pattern.components() {
        let name = component.as_os_str().to_string_lossy();
        has_wildcard |= matches!(component, Component::Normal(_)) && name.contains('*');
        if !has_wildcard {
            for path in &mut found {
                path.push(component);
            }
            continue;
        }
        let wanted = Pattern::new(&name);
        let matches = |path: &PathBuf| {
            let found = path.file_name().unwrap_or_default().to_string_lossy();
            wanted.matches(&found) && (name.starts_with('.') || !found.starts_with('.'))
        };
        found = found
            .iter()
            .flat_map(|dir| environment.list(dir).unwrap_or_default())
            .filter(matches)
            .collect();
    }
    found.sort();
    found
}

/// Describes an I/O error without the path.
pub(super) fn describe_io_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::FileTooLarge => "it is larger than 16 MiB".to_owned(),
        kind => kind.to_string(),
    }
}
