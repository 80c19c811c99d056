//! Where a change of a file shows: the directories to watch, and the names in them that count.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::config::{FileSet, Pattern};

/// As the kernel's own limit (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Pattern directories with a wildcard in a directory's name can match any number of directories.
const MOST_DIRECTORIES: usize = 1024;

/// The places of one set of files.
#[derive(Debug, Default)]
pub(super) struct Places {
    directories: BTreeSet<PathBuf>,
    /// Full paths, as events name them: a directory without links, and a name in it.
    names: HashSet<PathBuf>,
    /// Any matching name in a directory.
    patterns: Vec<(PathBuf, Pattern)>,
}

impl Places {
    /// Follows every file and pattern to its places. Blocks.
    pub(super) fn trace(watched: &FileSet) -> Self {
        let mut places = Self::default();
        for file in &watched.files {
            places.follow(file);
        }
        for pattern in &watched.patterns {
            let (fixed, wild) = split(pattern);
            if let Some(directory) = places.follow(&fixed) {
                places.expand(&directory, &wild);
            }
        }
        places
    }

    /// Directories without links in their names.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().map(PathBuf::as_path)
    }

    /// Whether a change at this path counts. A directory's own path stands for its move or removal.
    pub(super) fn hold(&self, path: &Path) -> bool {
        self.names.contains(path)
            || self.directories.contains(path)
            || self.patterns.iter().any(|(directory, pattern)| {
                path.parent() == Some(directory)
                    && path.file_name().is_some_and(|name| pattern.matches(&name.to_string_lossy()))
            })
    }

    /// A number that changes when one of the files does, as far as their metadata tells. Blocks.
    pub(super) fn stamp(&self, watched: &FileSet) -> u64 {
        let mut hasher = DefaultHasher::new();
        for file in &watched.files {
            hash_metadata(fs::metadata(file).ok(), &mut hasher);
        }
        for (directory, pattern) in &self.patterns {
            for name in entries(directory, pattern) {
                hash_metadata(fs::metadata(directory.join(&name)).ok(), &mut hasher);
                name.hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// Walks a path part by part. Every link on the way is a place, because replacing it replaces
    /// the file (`..data` of a mounted ConfigMap); so is the first part that is missing. Returns the
    /// path without links, when it is all there.
    fn follow(&mut self, path: &Path) -> Option<PathBuf> {
        let path = std::path::absolute(path).ok()?;
        let mut todo: VecDeque<OsString> = parts(&path).collect();
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            if part == ".." {
                // `at` holds no links, so its parent is the one that is written.
                at.pop();
                continue;
            }
            let next = at.join(&part);
            let kind = fs::symlink_metadata(&next).map(|metadata| metadata.file_type());
            if let Ok(kind) = &kind
                && !kind.is_symlink()
                && !todo.is_empty()
            {
                at = next;
                continue;
            }
            self.directories.insert(at.clone());
            self.names.insert(next.clone());
            if !kind.ok()?.is_symlink() {
                return Some(next);
            }
            links += 1;
            if links > MOST_LINKS {
                return None;
            }
            for part in parts(&fs::read_link(&next).ok()?).rev() {
                todo.push_front(part);
            }
        }
        Some(at)
    }

    /// Puts a pattern's directories under watch. Matching links lead to files elsewhere.
    fn expand(&mut self, directory: &Path, wild: &[OsString]) {
        let Some((first, rest)) = wild.split_first() else { return };
        if self.patterns.len() >= MOST_DIRECTORIES {
            return;
        }
        let pattern = name_pattern(first);
        self.directories.insert(directory.to_owned());
        self.patterns.push((directory.to_owned(), pattern.clone()));
        for name in entries(directory, &pattern) {
            let path = directory.join(name);
            let Some(target) = self.follow(&path) else { continue };
            if !rest.is_empty() && target.is_dir() {
                self.expand(&target, rest);
            }
        }
    }
}

/// The parts of a path, `/` for its root; the `.`s are left out.
fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::CurDir | Component::Prefix(_) => None,
        part => Some(part.as_os_str().to_owned()),
    })
}

/// A pattern's directory up to the first wildcard, and the parts from there on.
fn split(pattern: &Path) -> (PathBuf, Vec<OsString>) {
    let wild = |part: &Component| part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']);
    let parts: Vec<Component> = pattern.components().collect();
    let fixed = parts.iter().position(wild).unwrap_or(parts.len());
    (
        parts[..fixed].iter().collect(),
        parts[fixed..].iter().map(|part| part.as_os_str().to_owned()).collect(),
    )
}

/// Only `*` is understood; any other wildcard counts as one, which is eager and misses nothing.
fn name_pattern(part: &OsStr) -> Pattern {
    let text = part.to_string_lossy();
    if text.contains(['?', '[', '{']) { Pattern::new("*") } else { Pattern::new(&text) }
}

/// Matching names of a directory, sorted.
fn entries(directory: &Path, pattern: &Pattern) -> BTreeSet<OsString> {
    let names =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| pattern.matches(&name.to_string_lossy())).take(MOST_DIRECTORIES).collect()
}

fn hash_metadata(metadata: Option<Metadata>, hasher: &mut impl Hasher) {
    let stamp = metadata.map(|of| {
        (of.dev(), of.ino(), of.len(), of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec())
    });
    stamp.hash(hasher);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn places(files: &[PathBuf], patterns: &[PathBuf]) -> Places {
        let watched =
            FileSet { files: files.iter().cloned().collect(), patterns: patterns.to_vec() };
        Places::trace(&watched)
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    #[test]
    fn every_link_on_the_way_to_a_file_is_a_place() {
        let (_folder, at) = folder();
        fs::create_dir(at.join("..v1")).unwrap();
        fs::write(at.join("..v1/keymux.toml"), "").unwrap();
        symlink("..v1", at.join("..data")).unwrap();
        symlink("..data/keymux.toml", at.join("keymux.toml")).unwrap();

        let places = places(&[at.join("keymux.toml")], &[]);
        for place in ["keymux.toml", "..data", "..v1/keymux.toml", "..v1"] {
            assert!(places.hold(&at.join(place)), "{place}");
        }
        assert!(!places.hold(&at.join("other.toml")));
        assert_eq!(places.directories().count(), 2);
    }

    #[test]
    fn the_nearest_directory_that_exists_stands_in_for_a_missing_one() {
        let (_folder, at) = folder();
        let places = places(&[at.join("a/b/c.toml")], &[]);
        assert_eq!(places.directories().collect::<Vec<_>>(), [at.as_path()]);
        assert!(places.hold(&at.join("a")));
        assert!(!places.hold(&at.join("b")));
    }

    #[test]
    fn a_circle_of_links_ends() {
        let (_folder, at) = folder();
        symlink("b", at.join("a")).unwrap();
        symlink("a", at.join("b")).unwrap();
        assert!(places(&[at.join("a")], &[]).hold(&at.join("b")));
    }

    #[test]
    fn a_pattern_counts_its_names_only() {
        let (_folder, at) = folder();
        fs::create_dir_all(at.join("team-a/conf.d")).unwrap();
        fs::create_dir_all(at.join("other/conf.d")).unwrap();
        let places = places(&[], &[at.join("team-*/conf.d/*.toml")]);
        assert!(places.hold(&at.join("team-a/conf.d/x.toml")));
        assert!(!places.hold(&at.join("team-a/conf.d/.x.toml.swp")));
        assert!(!places.hold(&at.join("other/conf.d/x.toml")));
        assert!(places.hold(&at.join("team-b")));
    }

    #[test]
    fn stamps_tell_a_changed_file() {
        let (_folder, at) = folder();
        let watched = FileSet { files: [at.join("a")].into(), patterns: vec![at.join("*.toml")] };
        let places = Places::trace(&watched);
        let mut stamps = vec![places.stamp(&watched)];
        assert_eq!(places.stamp(&watched), stamps[0]);
        fs::write(at.join("a"), "1").unwrap();
        stamps.push(places.stamp(&watched));
        fs::write(at.join("b.toml"), "").unwrap();
        stamps.push(places.stamp(&watched));
        fs::write(at.join("ignored"), "").unwrap();
        assert_eq!(places.stamp(&watched), stamps[2]);
        assert!(stamps[0] != stamps[1] && stamps[1] != stamps[2], "{stamps:?}");
    }
}
