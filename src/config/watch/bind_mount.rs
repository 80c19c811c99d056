//! Detects single files that are mounted into a container, whose replacement outside is not visible inside.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Returns a warning if the file is a mount point. Such a mount is bound to one inode: if an editor or a
/// deployment replaces the file outside, the old one stays visible here, and there is no event. Blocks.
pub fn bind_mount_warning(path: &Path) -> Option<String> {
    let file = path.canonicalize().ok()?;
    let name = path.display();
    if fs::metadata(&file).ok()?.nlink() == 0 {
        return Some(format!(
            "{name} was replaced or deleted outside this container, but its old content is still visible here: \
             instead of the single file, mount the directory"
        ));
    }
    let mounts = fs::read("/proc/self/mountinfo").ok()?;
    mount_points(&mounts).any(|point| point == file).then(|| {
        format!(
            "{name} is mounted as a single file, so its replacement outside is not visible here: \
             mount the directory"
        )
    })
}

/// Parses the fifth field of each line (proc_pid_mountinfo(5)), in which spaces, tabs, line ends and
/// backslashes are written as `\ooo`.
fn mount_points(mounts: &[u8]) -> impl Iterator<Item = PathBuf> + '_ {
    mounts
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(std::ffi::OsString::from_vec(unescape(field))))
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        if let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] = rest {
            text.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
            rest = tail;
        } else {
            text.push(*first);
            rest = tail;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_in_mount_points_are_decoded() {
        let mounts = b"21 1 0:20 / / rw - overlay overlay rw\n\
            40 21 8:1 /srv/k.toml//deleted /etc/key\\040mux/keymux.toml ro,relatime - ext4 /dev/sda1 rw\n";
        let points: Vec<_> = mount_points(mounts).collect();
        assert_eq!(points, [Path::new("/"), Path::new("/etc/key mux/keymux.toml")]);
    }

    #[test]
    fn an_ordinary_file_is_not_a_mount_point() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(bind_mount_warning(file.path()), None);
        assert_eq!(bind_mount_warning(Path::new("/nowhere/at-all")), None);
    }

    /// Container engines mount some files one by one, so most test machines have such a mount.
    #[test]
    fn a_single_mounted_file_gives_a_warning() {
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        let Some(file) = mount_points(&mounts).find(|point| point.is_file()) else {
            println!("skipped: no single file is mounted here");
            return;
        };
        let text = bind_mount_warning(&file).expect("a warning");
        assert!(text.ends_with("mount the directory"), "{text}");
    }
}
