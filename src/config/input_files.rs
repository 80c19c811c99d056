//! What a configuration was made from, and whether that is still the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf, absolute};

use aws_lc_rs::digest::{Context, SHA256};

use super::pattern::Pattern;
use crate::secret::sha256;

/// What loading a configuration may see of the world.
pub trait Environment {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<OsString>;
    /// All environment variables whose names begin with `KEYMUX_` and that are text.
    fn keymux_variables(&self) -> Vec<(String, String)>;
    /// The contents of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// What stands in a directory, as paths that begin with it.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
}

/// The real environment and file system.
#[derive(Clone, Copy, Debug)]
pub struct SystemEnvironment;

/// More than any configuration or credential needs; `/dev/zero` must not fill the memory.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;

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
        fs::File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_FILE {
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
    /// What [`InputFiles::hash`] would be with the files as they are now. Patterns are looked up again,
    /// nothing is parsed.
    pub fn hash_now(&self, around: &dyn Environment) -> [u8; 32] {
        let mut files = self.set.files.clone();
        for pattern in &self.set.patterns {
            files.extend(expand(pattern, around));
        }
        let digests = files.into_iter().map(|file| {
            let digest = around.read(&file).ok().map(|bytes| sha256(&bytes));
            (file, digest)
        });
        combine(&digests.collect())
    }
}

/// The first 12 hex digits of the SHA-256 of some texts.
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

/// Reads files and remembers which, and what they held.
pub(super) struct Reader<'a> {
    /// The world.
    pub(super) around: &'a dyn Environment,
    digests: BTreeMap<PathBuf, Option<[u8; 32]>>,
    patterns: Vec<PathBuf>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(around: &'a dyn Environment) -> Self {
        Self { around, digests: BTreeMap::new(), patterns: Vec::new() }
    }

    /// The contents of a file.
    pub(super) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let bytes = self.around.read(path);
        let digest = bytes.as_ref().ok().map(|bytes| sha256(bytes));
        // Of a file that changes while it is read twice, the first contents count: the change is then
        // seen as one.
        self.digests.entry(whole(path)).or_insert(digest);
        bytes
    }

    /// The files that match a pattern, in the order of their names.
    pub(super) fn expand(&mut self, pattern: &Path) -> Vec<PathBuf> {
        self.patterns.push(whole(pattern));
        expand(pattern, self.around)
    }

    pub(super) fn finish(self) -> InputFiles {
        let hash = combine(&self.digests);
        let files = self.digests.into_keys().collect();
        InputFiles { set: FileSet { files, patterns: self.patterns }, hash }
    }
}

/// The path from the root, by which a file is known.
pub(super) fn whole(path: &Path) -> PathBuf {
    absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The paths that match, in order. `*` stands for any run of characters within one name, and does not
/// cover the dot that hides a name: editors and mounted volumes keep their own files under such names.
fn expand(pattern: &Path, around: &dyn Environment) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    let mut listed = false;
    for component in pattern.components() {
        let name = component.as_os_str().to_string_lossy();
        listed |= matches!(component, Component::Normal(_)) && name.contains('*');
        if !listed {
            for path in &mut found {
                path.push(component);
            }
            continue;
        }
        let wanted = Pattern::new(&name);
        let matches = |path: &PathBuf| {
            let own = path.file_name().unwrap_or_default().to_string_lossy();
            wanted.matches(&own) && (name.starts_with('.') || !own.starts_with('.'))
        };
        found = found
            .iter()
            .flat_map(|dir| around.list(dir).unwrap_or_default())
            .filter(matches)
            .collect();
    }
    found.sort();
    found
}
