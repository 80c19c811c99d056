//! The ways in which files are changed.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use crate::common::http::patiently;
use crate::common::keymux::Keymux;
use crate::common::upstream::{Upstream, chat_answer};
use crate::{A_WHILE, BASE, ask, expect_key, expect_reloads, file, key, reloads};

#[tokio::test]
async fn an_in_place_write_is_detected() {
    let keymux = Keymux::start(&file("one"), &[]).await;
    assert_eq!(key(&keymux).await, "one");
    for name in ["two", "three"] {
        keymux.rewrite(&file(name));
        expect_key(&keymux, name).await;
    }
    assert_eq!(reloads(&keymux).await, (2, 0));
}

#[tokio::test]
async fn a_save_by_rename_is_detected() {
    let keymux = Keymux::start(&file("one"), &[]).await;
    for name in ["two", "three"] {
        save_by_rename(&keymux.config_path(), &keymux.fill_in(&file(name)));
        expect_key(&keymux, name).await;
    }
    // Some editors move the old file away first.
    fs::rename(keymux.config_path(), keymux.folder().join("keymux.toml~")).unwrap();
    keymux.rewrite(&file("four"));
    expect_key(&keymux, "four").await;
}

/// The kubelet updates a mounted ConfigMap with a new directory and one replaced link.
#[tokio::test]
async fn a_configmap_update_is_detected() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("..ts1")).unwrap();
    symlink("..ts1", folder.path().join("..data")).unwrap();
    symlink("..data/keymux.toml", folder.path().join("keymux.toml")).unwrap();
    let keymux = Keymux::start_in(folder, &file("one"), &[]).await;
    assert!(keymux.folder().join("..ts1/keymux.toml").exists());
    for (name, old, new) in [("two", "..ts1", "..ts2"), ("three", "..ts2", "..ts3")] {
        let at = |name: &str| keymux.folder().join(name);
        fs::create_dir(at(new)).unwrap();
        fs::write(at(new).join("keymux.toml"), keymux.fill_in(&file(name))).unwrap();
        symlink(new, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        fs::remove_dir_all(at(old)).unwrap();
        expect_key(&keymux, name).await;
    }
    assert_eq!(reloads(&keymux).await, (2, 0));
}

#[tokio::test]
async fn a_write_in_parts_is_read_when_complete() {
    let keymux = Keymux::start(&file("one"), &[]).await;
    write_in_pieces(&keymux, &file("two"), Duration::from_millis(10)).await;
    expect_key(&keymux, "two").await;
}

/// Slower than the settle time: each partial file is rejected, and no request uses it.
#[tokio::test]
async fn a_partial_file_is_rejected() {
    let keymux = Keymux::start(&file("one"), &[]).await;
    let text = file("two");
    let write = write_in_pieces(&keymux, &text, Duration::from_millis(200));
    let call = async {
        let mut keys = Vec::new();
        while keys.last().is_none_or(|last| last != "two") {
            keys.push(key(&keymux).await);
            sleep(Duration::from_millis(2)).await;
        }
        keys.retain(|key| key != "two");
        keys
    };
    let ((), before) = tokio::join!(write, patiently("the whole file", call));
    assert!(before.iter().all(|key| key == "one"), "{before:?}");
    let (taken, refused) = reloads(&keymux).await;
    assert!(taken == 1 && refused >= 1, "{taken} taken, {refused} refused");
}

#[tokio::test]
async fn a_temporarily_missing_file_is_detected() {
    let keymux = Keymux::start(&file("one"), &[]).await;
    fs::remove_file(keymux.config_path()).unwrap();
    expect_reloads(&keymux, (0, 1)).await;
    assert_eq!(key(&keymux).await, "one");
    let ready = keymux.admin("/readyz").await;
    assert_eq!(ready.status(), 200);
    assert!(ready.text().contains("cannot be read"), "{}", ready.text());

    keymux.rewrite(&file("one"));
    expect_reloads(&keymux, (1, 1)).await;
    fs::remove_file(keymux.config_path()).unwrap();
    expect_reloads(&keymux, (1, 2)).await;
    keymux.rewrite(&file("two"));
    expect_key(&keymux, "two").await;
}

#[tokio::test]
async fn changes_of_included_files_are_detected() {
    let main = format!(
        "include = [\"conf.d/*.toml\"]\n{BASE}\n\
         [[providers.echo.keys]]\nname = \"standby\"\nweight = 0\n"
    );
    let keymux = Keymux::start(&main, &[]).await;
    assert_eq!(key(&keymux).await, "standby");
    let part = |key: &str| format!("[[providers.echo.keys]]\nname = \"{key}\"\n");

    let folder = keymux.folder().join("conf.d");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.toml"), part("added")).unwrap();
    expect_key(&keymux, "added").await;
    save_by_rename(&folder.join("a.toml"), &part("changed"));
    expect_key(&keymux, "changed").await;
    fs::remove_file(folder.join("a.toml")).unwrap();
    expect_key(&keymux, "standby").await;
    fs::write(folder.join("b.toml"), part("another")).unwrap();
    expect_key(&keymux, "another").await;
    fs::remove_dir_all(&folder).unwrap();
    expect_key(&keymux, "standby").await;
}

#[tokio::test]
async fn a_change_of_a_secret_file_is_detected() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("secrets")).unwrap();
    let secret = folder.path().join("secrets/up");
    fs::write(&secret, "sk-first\n").unwrap();
    let config = format!(
        "{BASE}\n[providers.up]\nkind = \"openai-compatible\"\nbase_url = \"{}/v1\"\n\
         [[providers.up.keys]]\nname = \"k\"\nvalue = {{ file = \"secrets/up\" }}\n",
        upstream.url()
    );
    let keymux = Keymux::start_in(folder, &config, &[]).await;
    let shown = async || {
        assert_eq!(ask(&keymux, "up/m").await.status(), 200);
        let last = upstream.requests().pop().unwrap();
        last.header("authorization").unwrap().to_owned()
    };
    assert_eq!(shown().await, "Bearer sk-first");
    fs::write(&secret, "sk-second\n").unwrap();
    expect_reloads(&keymux, (1, 0)).await;
    assert_eq!(shown().await, "Bearer sk-second");
    save_by_rename(&secret, "sk-third");
    expect_reloads(&keymux, (2, 0)).await;
    assert_eq!(shown().await, "Bearer sk-third");
    fs::remove_file(&secret).unwrap();
    expect_reloads(&keymux, (2, 1)).await;
    assert_eq!(shown().await, "Bearer sk-third");
    let log = keymux.log();
    assert!(log.contains("key up/k changed") && !log.contains("sk-sec"), "{log}");
}

/// Polling only, as on file systems without events.
#[tokio::test]
async fn polling_detects_a_change() {
    let poll = "[reload]\nwatch = \"poll\"\npoll_interval = \"100ms\"";
    let polled = |key: &str| file(key).replace("[reload]", poll);
    let keymux = Keymux::start(&polled("one"), &[]).await;
    keymux.rewrite(&polled("two"));
    expect_key(&keymux, "two").await;
    save_by_rename(&keymux.config_path(), &keymux.fill_in(&polled("three")));
    expect_key(&keymux, "three").await;
    sleep(A_WHILE).await;
    assert_eq!(reloads(&keymux).await, (2, 0), "a tick that finds nothing new is no reload");
}

#[tokio::test]
async fn watch_off_ignores_changes() {
    let off = |key: &str| file(key).replace("[reload]", "[reload]\nwatch = \"off\"");
    let keymux = Keymux::start(&off("one"), &[]).await;
    keymux.rewrite(&off("two"));
    sleep(A_WHILE).await;
    assert_eq!(key(&keymux).await, "one");
    keymux.signal(Signal::HUP);
    expect_key(&keymux, "two").await;

    // A reload can switch watching on and off.
    keymux.rewrite(&file("three"));
    keymux.signal(Signal::HUP);
    expect_key(&keymux, "three").await;
    keymux.rewrite(&file("four"));
    expect_key(&keymux, "four").await;
    keymux.rewrite(&off("five"));
    expect_key(&keymux, "five").await;
    keymux.rewrite(&off("six"));
    sleep(A_WHILE).await;
    assert_eq!(key(&keymux).await, "five");
}

#[tokio::test]
async fn unchanged_content_is_not_reloaded() {
    let keymux = Keymux::start(&file("one"), &[]).await;
    for _ in 0..3 {
        keymux.rewrite(&file("one"));
        save_by_rename(&keymux.config_path(), &keymux.fill_in(&file("one")));
        sleep(A_WHILE / 3).await;
    }
    sleep(A_WHILE).await;
    assert_eq!(reloads(&keymux).await, (0, 0));
    keymux.signal(Signal::HUP);
    keymux.log_with("no file has changed").await;
    assert_eq!(reloads(&keymux).await, (0, 0));
    keymux.rewrite(&file("two"));
    expect_key(&keymux, "two").await;
    assert_eq!(reloads(&keymux).await, (1, 0));
}

fn save_by_rename(path: &Path, text: &str) {
    let aside = path.with_extension("new");
    fs::write(&aside, text).unwrap();
    fs::rename(aside, path).unwrap();
}

/// Truncates the file, then writes it in parts. Only the whole is a valid file: the first part ends within a
/// setting, the second before any provider, the third within the key's name.
async fn write_in_pieces(keymux: &Keymux, text: &str, pause: Duration) {
    let text = keymux.fill_in(text);
    let cuts = ["lis", "[[prov", "name = \"t"].map(|end| text.find(end).unwrap() + end.len());
    let mut file = File::create(keymux.config_path()).unwrap();
    let mut written = 0;
    for cut in cuts.into_iter().chain([text.len()]) {
        sleep(pause).await;
        file.write_all(&text.as_bytes()[written..cut]).unwrap();
        written = cut;
    }
}
