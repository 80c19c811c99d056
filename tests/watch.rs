//! Changes of real files, as editors, people and orchestrators make them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail in its preparations too"
)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keymux::config::watch::Watcher;
use keymux::config::{FileSet, Reload, WatchMode};
use tokio::time::{Instant, sleep, timeout};

const SETTLE: Duration = Duration::from_millis(60);
/// Longer than any test, so that changes are detected by events.
const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(5);

const EVENTS: Reload = Reload { watch: WatchMode::Auto, poll_interval: NEVER, settle: SETTLE };

/// A directory with `keymux.toml`, and a watcher without pending reports.
struct Scene {
    folder: tempfile::TempDir,
    watcher: Watcher,
}

impl Scene {
    async fn new(prepare: impl FnOnce(&Path), files: &[&str], patterns: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let set = FileSet {
            files: files.iter().map(|name| folder.path().join(name)).collect(),
            patterns: patterns.iter().map(|name| folder.path().join(name)).collect(),
        };
        let mut watcher = Watcher::new(EVENTS, set);
        timeout(SOON, watcher.changed()).await.expect("the first look");
        let mut scene = Self { folder, watcher };
        scene.expect_silence().await;
        scene
    }

    async fn with_file() -> Self {
        Self::new(|at| fs::write(at.join("keymux.toml"), "a = 1").unwrap(), &["keymux.toml"], &[])
            .await
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn expect_change(&mut self) {
        timeout(SOON, self.watcher.changed()).await.expect("the change was not noticed");
    }

    async fn expect_silence(&mut self) {
        let report = timeout(SETTLE * 5, self.watcher.changed()).await;
        assert!(report.is_err(), "a change was reported where there was none");
    }
}

#[tokio::test]
async fn an_in_place_write_is_detected_once() {
    let mut scene = Scene::with_file().await;
    fs::write(scene.at("keymux.toml"), "a = 2").unwrap();
    scene.expect_change().await;
    scene.expect_silence().await;
    fs::write(scene.at("keymux.toml"), "a = 3").unwrap();
    scene.expect_change().await;
}

#[tokio::test]
async fn reads_and_writes_of_other_files_are_ignored() {
    let mut scene = Scene::with_file().await;
    fs::read(scene.at("keymux.toml")).unwrap();
    fs::read_dir(scene.folder.path()).unwrap().count();
    fs::write(scene.at("keymux.toml.swp"), "editor's own").unwrap();
    scene.expect_silence().await;
}

#[tokio::test]
async fn a_rename_over_the_file_is_detected_each_time() {
    let mut scene = Scene::with_file().await;
    for round in 0..3 {
        fs::write(scene.at("new"), format!("a = {round}")).unwrap();
        fs::rename(scene.at("new"), scene.at("keymux.toml")).unwrap();
        scene.expect_change().await;
    }
}

/// Like vim: the old file becomes a backup, a new one is written, the backup is deleted.
#[tokio::test]
async fn a_save_with_a_backup_file_is_detected() {
    let mut scene = Scene::with_file().await;
    for _ in 0..2 {
        fs::rename(scene.at("keymux.toml"), scene.at("keymux.toml~")).unwrap();
        fs::write(scene.at("keymux.toml"), "a = 2").unwrap();
        fs::remove_file(scene.at("keymux.toml~")).unwrap();
        scene.expect_change().await;
    }
}

/// A mounted ConfigMap: `keymux.toml -> ..data/keymux.toml`, `..data -> ..v1`. An update renames a new `..data`
/// over the old one and removes the old directory.
#[tokio::test]
async fn the_swap_of_a_mounted_config_map_is_detected_each_time() {
    let version = |at: &Path, name: &str| {
        fs::create_dir(at.join(name)).unwrap();
        fs::write(at.join(name).join("keymux.toml"), name).unwrap();
        symlink(name, at.join("..data_tmp")).unwrap();
        fs::rename(at.join("..data_tmp"), at.join("..data")).unwrap();
    };
    let prepare = |at: &Path| {
        version(at, "..v1");
        symlink("..data/keymux.toml", at.join("keymux.toml")).unwrap();
    };
    let mut scene = Scene::new(prepare, &["keymux.toml"], &[]).await;
    for (old, new) in [("..v1", "..v2"), ("..v2", "..v3"), ("..v3", "..v1")] {
        version(scene.folder.path(), new);
        fs::remove_dir_all(scene.at(old)).unwrap();
        scene.expect_change().await;
        assert_eq!(fs::read_to_string(scene.at("keymux.toml")).unwrap(), new);
    }
    // The last directory of the chain is the new one, so writes in it are relevant.
    fs::write(scene.at("..v1/keymux.toml"), "in place").unwrap();
    scene.expect_change().await;
}

#[tokio::test]
async fn a_linked_directory_that_points_elsewhere_is_detected() {
    let prepare = |at: &Path| {
        for name in ["one", "two"] {
            fs::create_dir(at.join(name)).unwrap();
            fs::write(at.join(name).join("keymux.toml"), name).unwrap();
        }
        symlink("one", at.join("current")).unwrap();
    };
    let mut scene = Scene::new(prepare, &["current/keymux.toml"], &[]).await;
    symlink("two", scene.at("next")).unwrap();
    fs::rename(scene.at("next"), scene.at("current")).unwrap();
    scene.expect_change().await;
    fs::write(scene.at("two/keymux.toml"), "new").unwrap();
    scene.expect_change().await;
    fs::write(scene.at("one/keymux.toml"), "nobody reads it").unwrap();
    scene.expect_silence().await;
}

#[tokio::test]
async fn a_write_in_parts_is_reported_when_complete() {
    let mut scene = Scene::with_file().await;
    let path = scene.at("keymux.toml");
    let writer = tokio::spawn(async move {
        let mut file = File::create(path).unwrap();
        for piece in 0..12 {
            writeln!(file, "key_{piece} = 1").unwrap();
            sleep(SETTLE / 6).await;
        }
    });
    scene.expect_change().await;
    let lines = fs::read_to_string(scene.at("keymux.toml")).unwrap().lines().count();
    assert_eq!(lines, 12, "reported in the middle of the write");
    writer.await.unwrap();
    scene.expect_silence().await;
}

#[tokio::test]
async fn continuous_writes_do_not_delay_reports_forever() {
    let mut scene = Scene::with_file().await;
    let path = scene.at("keymux.toml");
    let writer = tokio::spawn(async move {
        for round in 0.. {
            fs::write(&path, format!("a = {round}")).unwrap();
            sleep(SETTLE / 8).await;
        }
    });
    let start = Instant::now();
    scene.expect_change().await;
    let took = start.elapsed();
    assert!(took >= SETTLE * 10 && took < SETTLE * 60, "{took:?}");
    writer.abort();
}

#[tokio::test]
async fn many_writes_are_one_change() {
    let mut scene = Scene::with_file().await;
    let path = scene.at("keymux.toml");
    tokio::task::spawn_blocking(move || {
        for round in 0..2_000 {
            fs::write(&path, format!("a = {round}")).unwrap();
        }
    })
    .await
    .unwrap();
    scene.expect_change().await;
    scene.expect_silence().await;
}

#[tokio::test]
async fn deleting_and_restoring_the_file_is_detected() {
    let mut scene = Scene::with_file().await;
    fs::remove_file(scene.at("keymux.toml")).unwrap();
    scene.expect_change().await;
    fs::write(scene.at("keymux.toml"), "a = 1").unwrap();
    scene.expect_change().await;
}

#[tokio::test]
async fn deleting_and_restoring_its_directory_is_detected() {
    let prepare = |at: &Path| {
        fs::create_dir_all(at.join("etc/keymux")).unwrap();
        fs::write(at.join("etc/keymux/keymux.toml"), "a = 1").unwrap();
    };
    let mut scene = Scene::new(prepare, &["etc/keymux/keymux.toml"], &[]).await;
    for _ in 0..2 {
        fs::remove_dir_all(scene.at("etc")).unwrap();
        scene.expect_change().await;
        prepare(scene.folder.path());
        scene.expect_change().await;
        fs::write(scene.at("etc/keymux/keymux.toml"), "a = 2").unwrap();
        scene.expect_change().await;
    }
}

#[tokio::test]
async fn a_directory_replaced_by_another_of_the_same_name_is_detected() {
    let prepare = |at: &Path| {
        for name in ["conf", "next"] {
            fs::create_dir(at.join(name)).unwrap();
            fs::write(at.join(name).join("keymux.toml"), name).unwrap();
        }
    };
    let mut scene = Scene::new(prepare, &["conf/keymux.toml"], &[]).await;
    fs::rename(scene.at("conf"), scene.at("old")).unwrap();
    fs::rename(scene.at("next"), scene.at("conf")).unwrap();
    scene.expect_change().await;
    fs::write(scene.at("conf/keymux.toml"), "new").unwrap();
    scene.expect_change().await;
    fs::write(scene.at("old/keymux.toml"), "nobody reads it").unwrap();
    scene.expect_silence().await;
}

#[tokio::test]
async fn a_new_file_of_an_include_pattern_is_detected() {
    let prepare = |at: &Path| fs::create_dir(at.join("conf.d")).unwrap();
    let mut scene = Scene::new(prepare, &[], &["conf.d/*.toml"]).await;
    fs::write(scene.at("conf.d/readme.txt"), "not included").unwrap();
    scene.expect_silence().await;
    fs::write(scene.at("conf.d/a.toml"), "").unwrap();
    scene.expect_change().await;
    fs::remove_file(scene.at("conf.d/a.toml")).unwrap();
    scene.expect_change().await;
}

#[tokio::test]
async fn an_include_directory_that_appears_later_is_detected() {
    let mut scene = Scene::new(|_| {}, &[], &["conf.d/*.toml"]).await;
    fs::create_dir(scene.at("conf.d")).unwrap();
    scene.expect_change().await;
    fs::write(scene.at("conf.d/a.toml"), "").unwrap();
    scene.expect_change().await;
}

#[tokio::test]
async fn a_secret_file_elsewhere_is_detected() {
    let prepare = |at: &Path| {
        fs::create_dir(at.join("secrets")).unwrap();
        fs::write(at.join("secrets/openai"), "one").unwrap();
        fs::write(at.join("keymux.toml"), "").unwrap();
    };
    let mut scene = Scene::new(prepare, &["keymux.toml", "secrets/openai"], &[]).await;
    fs::write(scene.at("secrets/openai"), "two").unwrap();
    scene.expect_change().await;
}

#[tokio::test]
async fn a_new_set_replaces_the_old_one() {
    let mut scene = Scene::with_file().await;
    fs::write(scene.at("second.toml"), "").unwrap();
    let set = FileSet { files: [scene.at("second.toml")].into(), patterns: Vec::new() };
    scene.watcher.update(EVENTS, set.clone());
    scene.expect_change().await; // changes between the read and the watch
    scene.watcher.update(EVENTS, set);
    scene.expect_silence().await; // the same set causes no report

    fs::write(scene.at("keymux.toml"), "forgotten").unwrap();
    scene.expect_silence().await;
    fs::write(scene.at("second.toml"), "a = 1").unwrap();
    scene.expect_change().await;
}

#[tokio::test]
async fn a_change_without_a_waiting_caller_is_reported_later() {
    let mut scene = Scene::with_file().await;
    fs::write(scene.at("keymux.toml"), "a = 2").unwrap();
    // Dropped during the settle time, like the other branch of a `select!`.
    for _ in 0..3 {
        assert!(timeout(SETTLE / 8, scene.watcher.changed()).await.is_err());
    }
    sleep(SETTLE * 3).await;
    scene.expect_change().await;
}

/// `Poll`, as on file systems without events. The clock is paused, so the intervals are exact and take no
/// time.
#[tokio::test(start_paused = true)]
async fn polling_detects_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keymux.toml");
    fs::write(&file, "a = 1").unwrap();
    let poll_interval = Duration::from_secs(30);
    let reload = Reload { watch: WatchMode::Poll, poll_interval, settle: SETTLE };
    let set = FileSet { files: [file.clone()].into(), patterns: Vec::new() };
    let mut watcher = Watcher::new(reload, set);
    watcher.changed().await;

    let start = Instant::now();
    watcher.changed().await;
    assert_eq!(start.elapsed(), poll_interval, "a tick comes even when nothing seems to differ");

    fs::write(&file, "a = 22").unwrap();
    let start = Instant::now();
    watcher.changed().await;
    assert_eq!(start.elapsed(), poll_interval + SETTLE);
    assert!(watcher.warnings().is_empty(), "{:?}", watcher.warnings());
}

#[tokio::test(start_paused = true)]
async fn polling_waits_for_a_write_in_parts_within_limits() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keymux.toml");
    fs::write(&file, "").unwrap();
    let poll_interval = Duration::from_secs(30);
    let reload = Reload { watch: WatchMode::Poll, poll_interval, settle: Duration::from_secs(1) };
    let set = FileSet { files: [file.clone()].into(), patterns: Vec::new() };
    let mut watcher = Watcher::new(reload, set);
    watcher.changed().await;

    for (writes, expected) in [(5, 35..=37), (1000, 50..=52)] {
        let start = Instant::now();
        let path = file.clone();
        let writer = tokio::spawn(async move {
            sleep(Duration::from_millis(29_500)).await;
            for round in 0..writes {
                let mut file = File::options().append(true).open(&path).unwrap();
                writeln!(file, "{round}").unwrap();
                sleep(Duration::from_secs(1)).await;
            }
        });
        watcher.changed().await;
        let took = start.elapsed().as_secs();
        writer.abort();
        assert!(expected.contains(&took), "{writes} writes: reported after {took} s");
        _ = writer.await;
        watcher.changed().await; // the rest of the last write
    }
}

#[tokio::test(start_paused = true)]
async fn off_never_reports() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keymux.toml");
    let reload = Reload { watch: WatchMode::Off, ..EVENTS };
    let mut watcher = Watcher::new(reload, FileSet { files: [file].into(), ..FileSet::default() });
    assert!(timeout(NEVER * 24, watcher.changed()).await.is_err());
}
