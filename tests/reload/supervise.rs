//! Notifications to systemd, and the health check of containers.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use sd_notify::NotifyState;
use tokio::net::UnixDatagram;

use crate::common::http::patiently;
use crate::common::keymux::{Keymux, run};
use crate::{expect_key, expect_reloads, file};

/// sd_notify(3): `RELOADING=1` and `MONOTONIC_USEC=` in one message, and `READY=1` at the end, also after a
/// rejected file.
#[tokio::test]
async fn systemd_is_notified_of_each_step() {
    let unwatched = |key: &str| file(key).replace("[reload]", "[reload]\nwatch = \"off\"");
    let bad = unwatched("two").replace("models", "modles");
    let systemd = Systemd::listen();
    let env = [("NOTIFY_SOCKET", systemd.path.to_str().unwrap())];
    let mut keymux = Keymux::start(&unwatched("one"), &env).await;
    let started = systemd.until("READY=1").await;
    assert!(started.last().unwrap().contains("STATUS=keymux listens on"), "{started:?}");

    // The third reload has the same rejected file as the second.
    let steps = [
        (unwatched("two"), "key echo/two added"),
        (bad.clone(), "is rejected"),
        (bad, "is rejected"),
        (unwatched("two"), "no effective change"),
        (unwatched("two"), "no file has changed"),
    ];
    for (text, status) in steps {
        let asked = monotonic_usec();
        keymux.rewrite(&text);
        keymux.signal(Signal::HUP);
        let begun = systemd.until("RELOADING=1").await;
        let begun = begun.concat();
        let usec = begun.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        assert!((asked..=monotonic_usec()).contains(&usec.parse().unwrap()), "{begun}");
        let over = systemd.until("READY=1").await.concat();
        assert!(over.starts_with("STATUS=") && over.contains(status), "{over}");
    }
    expect_key(&keymux, "two").await;

    assert_eq!(keymux.stop().await.code(), Some(0));
    systemd.until("STOPPING=1").await;
}

/// The gateway continues with the last valid file, so an invalid one must not restart the container.
#[tokio::test]
async fn an_invalid_file_does_not_fail_the_health_check() {
    let mut keymux = Keymux::start(&file("one"), &[]).await;
    let healthy = |keymux: &Keymux| {
        let output = run(keymux.folder(), &["healthcheck"], &[]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(healthy(&keymux), (Some(0), "ready\n".to_owned()));
    let bad = [
        file("one").replace("models", "modles"),
        file("one") + "[[clients]]\nname = \"a\"\nkey = { env_var = \"NOT_SET\" }\n",
        file("one") + "[providers.echo\n",
        file("one").split("[reload]").next().unwrap().to_owned(),
        "include = [\"missing.toml\"]\n".to_owned() + &file("one"),
    ];
    for (at, text) in (1..).zip(bad) {
        keymux.rewrite(&text);
        expect_reloads(&keymux, (0, at)).await;
        assert_eq!(healthy(&keymux).0, Some(0), "{text}");
    }
    // Without a file, the address may still come from a variable or a flag.
    fs::remove_file(keymux.config_path()).unwrap();
    let address = format!("admin.listen={}", keymux.admin_address());
    let output = run(keymux.folder(), &["healthcheck", "--set", &address], &[]);
    assert_eq!(output.status.code(), Some(0));

    keymux.rewrite(&file("two"));
    expect_key(&keymux, "two").await;
    keymux.rewrite(&file("two").replace("127.0.0.1:{ADMIN}", "nowhere"));
    let output = run(keymux.folder(), &["healthcheck"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("`admin.listen` is not a valid address"), "{said}");

    keymux.rewrite(&file("two"));
    keymux.stop().await;
    assert_eq!(healthy(&keymux).0, Some(1));
}

/// The other end of `NOTIFY_SOCKET`.
struct Systemd {
    socket: UnixDatagram,
    path: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Systemd {
    fn listen() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = Path::new(folder.path()).join("notify");
        Self { socket: UnixDatagram::bind(&path).unwrap(), path, _folder: folder }
    }

    /// Returns the messages up to the first one with this line.
    async fn until(&self, line: &str) -> Vec<String> {
        let mut messages = Vec::new();
        loop {
            let mut buffer = vec![0; 4096];
            let length = patiently(line, self.socket.recv(&mut buffer)).await.unwrap();
            messages.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
            if messages.last().is_some_and(|message| message.lines().any(|found| found == line)) {
                return messages;
            }
        }
    }
}

fn monotonic_usec() -> i128 {
    match NotifyState::monotonic_usec_now() {
        Ok(NotifyState::MonotonicUsec(usec)) => usec,
        other => panic!("{other:?}"),
    }
}
