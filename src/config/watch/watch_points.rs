//! The paths at which a change of the files is visible: directories to watch, and relevant names in them.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::config::{FileSet, Pattern};

/// The kernel's limit (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A wildcard in the name of a directory can match any number of directories.
const MAX_DIRECTORIES: usize = 1024;

/// The watched paths of one set of files.
#[derive(Debug, Default)]
pub(super) struct WatchPoints {
    directories: BTreeSet<PathBuf>,
    /// Full paths as events contain them: a directory without links, and a name in it.
    names: HashSet<PathBuf>,
    /// Directories with patterns for names in them.
    patterns: Vec<(PathBuf, Pattern)>,
}

impl WatchPoints {
    /// Follows every file and pattern. Blocks.
    pub(super) fn trace(set: &FileSet) -> Self {
        let mut points = Self::default();
        for file in &set.files {
            points.follow(file);
        }
        for pattern in &set.patterns {
            let (fixed, wildcards) = split_at_wildcard(pattern);
            if let Some(directory) = points.follow(&fixed) {
                points.expand(&directory, &wildcards);
            }
        }
        points
    }

    /// Returns the directories to watch, without links in their paths.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().map(PathBuf::as_path)
    }

    /// True if a change of this path is relevant. The path of a directory means that it was moved or removed.
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.names.contains(path)
            || self.directories.contains(path)
            || self.patterns.iter().any(|(directory, pattern)| {
                path.parent() == Some(directory)
                    && path.file_name().is_some_and(|name| pattern.matches(&name.to_string_lossy()))
            })
    }

    /// Returns a hash of the metadata of all files, which changes when one of them does. Blocks.
    pub(super) fn stamp(&self, set: &FileSet) -> u64 {
        let mut hasher = DefaultHasher::new();
        for file in &set.files {
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

    /// Follows a path part by part. Adds every link in it, because replacing a link replaces the file
    /// (`..data` of a mounted ConfigMap), and the first missing part. Returns the path without links if all
    /// of it exists.
    fn follow(&mut self, path: &Path) -> Option<PathBuf> {
        let path = std::path::absolute(path).ok()?;
        let mut remaining: VecDeque<OsString> = parts(&path).collect();
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = remaining.pop_front() {
            if part == ".." {
                // `at` contains no links, so `..` is its parent.
                at.pop();
                continue;
            }
            let next = at.join(&part);
            let kind = fs::symlink_metadata(&next).map(|metadata| metadata.file_type());
            if let Ok(kind) = &kind
                && !kind.is_symlink()
                && !remaining.is_empty()
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
            if links > MAX_LINKS {
                return None;
            }
            for part in parts(&fs::read_link(&next).ok()?).rev() {
                remaining.push_front(part);
            }
        }
        Some(at)
    }

    /// Adds the directories of a pattern, and the targets of matching links.
    fn expand(&mut self, directory: &Path, wildcards: &[OsString]) {
        let Some((first, rest)) = wildcards.split_first() else { return };
        if self.patterns.len() >= MAX_DIRECTORIES {
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

/// Returns the parts of a path, `/` for its root, without `.`.
fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::CurDir | Component::Prefix(_) => None,
        part => Some(part.as_os_str().to_owned()),
    })
}

/// Splits a pattern into the directory before the first wildcard, and the remaining parts.
fn split_at_wildcard(pattern: &Path) -> (PathBuf, Vec<OsString>) {
    let has_wildcard =
        |part: &Component| part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']);
    let parts: Vec<Component> = pattern.components().collect();
    let fixed = parts.iter().position(has_wildcard).unwrap_or(parts.len());
    (
        parts[..fixed].iter().collect(),
        parts[fixed..].iter().map(|part| part.as_os_str().to_owned()).collect(),
    )
}

/// Supports `*` only. A name with another wildcard matches everything, so that no change is missed.
fn name_pattern(part: &OsStr) -> Pattern {
    let text = part.to_string_lossy();
    if text.contains(['?', '[', '{']) { Pattern::new("*") } else { Pattern::new(&text) }
}

/// Returns the matching names in a directory, sorted.
fn entries(directory: &Path, pattern: &Pattern) -> BTreeSet<OsString> {
    let names =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| pattern.matches(&name.to_string_lossy())).take(MAX_DIRECTORIES).collect()
}

fn hash_metadata(metadata: Option<Metadata>, hasher: &mut impl Hasher) {
    let stamp = metadata.map(|data| {
        let modified = (data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec());
        (data.dev(), data.ino(), data.len(), modified)
    });
    stamp.hash(hasher);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn points(files: &[PathBuf], patterns: &[PathBuf]) -> WatchPoints {
        let watched =
            FileSet { files: files.iter().cloned().collect(), patterns: patterns.to_vec() };
        WatchPoints::trace(&watched)
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    #[test]
    fn every_link_in_a_path_is_watched() {
        let (_folder, at) = folder();
        fs::create_dir(at.join("..v1")).unwrap();
        fs::write(at.join("..v1/keymux.toml"), "").unwrap();
        symlink("..v1", at.join("..data")).unwrap();
        symlink("..data/keymux.toml", at.join("keymux.toml")).unwrap();

        let points = points(&[at.join("keymux.toml")], &[]);
        for place in ["keymux.toml", "..data", "..v1/keymux.toml", "..v1"] {
            assert!(points.contains(&at.join(place)), "{place}");
        }
        assert!(!points.contains(&at.join("other.toml")));
        assert_eq!(points.directories().count(), 2);
    }

    #[test]
    fn the_nearest_existing_directory_replaces_a_missing_one() {
        let (_folder, at) = folder();
        let points = points(&[at.join("a/b/c.toml")], &[]);
        assert_eq!(points.directories().collect::<Vec<_>>(), [at.as_path()]);
        assert!(points.contains(&at.join("a")));
        assert!(!points.contains(&at.join("b")));
    }

    #[test]
    fn a_cycle_of_links_ends() {
        let (_folder, at) = folder();
        symlink("b", at.join("a")).unwrap();
        symlink("a", at.join("b")).unwrap();
        assert!(points(&[at.join("a")], &[]).contains(&at.join("b")));
    }

    #[test]
    fn a_pattern_is_relevant_for_matching_names_only() {
        let (_folder, at) = folder();
        fs::create_dir_all(at.join("team-a/conf.d")).unwrap();
        fs::create_dir_all(at.join("other/conf.d")).unwrap();
        let points = points(&[], &[at.join("team-*/conf.d/*.toml")]);
        assert!(points.contains(&at.join("team-a/conf.d/x.toml")));
        assert!(!points.contains(&at.join("team-a/conf.d/.x.toml.swp")));
        assert!(!points.contains(&at.join("other/conf.d/x.toml")));
        assert!(points.contains(&at.join("team-b")));
    }

    #[test]
    fn stamps_change_with_the_files() {
        let (_folder, at) = folder();
        let watched = FileSet { files: [at.join("a")].into(), patterns: vec![at.join("*.toml")] };
        let points = WatchPoints::trace(&watched);
        let mut stamps = vec![points.stamp(&watched)];
        assert_eq!(points.stamp(&watched), stamps[0]);
        fs::write(at.join("a"), "1").unwrap();
        stamps.push(points.stamp(&watched));
        fs::write(at.join("b.toml"), "").unwrap();
        stamps.push(points.stamp(&watched));
        fs::write(at.join("ignored"), "").unwrap();
        assert_eq!(points.stamp(&watched), stamps[2]);
        assert!(stamps[0] != stamps[1] && stamps[1] != stamps[2], "{stamps:?}");
    }
}
