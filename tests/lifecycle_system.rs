//! The program and its system: systemd's watchdog, an unread log, a full disk, protection of
//! memory, and error events to waiting callers at the end.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "so a test fails, or says it skips")]

mod common;

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::config::{config, key, provider};
use common::http::{self, Connection};
use common::keymux::{Keymux, free_ports};
use common::upstream::{Step, Upstream};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::UnixDatagram;
use tokio::time::{Instant, sleep};

const ECHO: &str = "[providers.echo]\n[[providers.echo.keys]]\nname = \"e\"\n";

/// Starts the program with this standard output.
struct Running {
    child: Child,
    address: std::net::SocketAddr,
}

impl Running {
    async fn start(folder: &Path, prepare: impl FnOnce(&mut Command)) -> Self {
        let [port, admin] = free_ports();
        let text = config("", &[ECHO.to_owned()])
            .replace("{PORT}", &port.to_string())
            .replace("{ADMIN}", &admin.to_string());
        fs::write(folder.join("keymux.toml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_keymux"));
        command.current_dir(folder).arg("run").stdin(Stdio::null());
        prepare(&mut command);
        let running =
            Self { child: command.spawn().unwrap(), address: ([127, 0, 0, 1], port).into() };
        let up = async {
            while Connection::try_open(running.address).await.is_none() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        http::patiently("the listener", up).await;
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends this number of requests on one connection, each with the longest access line.
async fn ask(running: &Running, times: usize) {
    let body = json!({"model": format!("echo/{}", "m".repeat(120)), "messages": [{"role": "user", "content": "x"}]});
    let request = http::json_request("/v1/chat/completions", &[], &body);
    let mut caller = Connection::open(running.address).await;
    for _ in 0..times {
        caller.send(&request).await;
        assert_eq!(caller.reply().await.status(), 200);
    }
}

#[tokio::test]
async fn an_unanswered_request_gets_a_503_after_the_drain_timeout() {
    let upstream = Upstream::always(vec![Step::Hang]).await;
    let main = provider("main", &upstream, "", &[key("only", "")]);
    let mut keymux = Keymux::start(&config("drain_timeout = \"200ms\"", &[main]), &[]).await;
    let body = json!({"model": "m"});
    let mut callers = Vec::new();
    for path in ["/v1/chat/completions", "/v1/responses"] {
        let mut caller = Connection::open(keymux.address()).await;
        caller.send(&http::json_request(path, &[], &body)).await;
        callers.push(caller);
    }
    upstream.request(1).await;
    // This caller is still sending its body.
    let mut sending = Connection::open(keymux.address()).await;
    sending.send(b"POST /v1/messages HTTP/1.1\r\nhost: k\r\ncontent-length: 100\r\n\r\n{").await;
    sleep(Duration::from_millis(50)).await;
    keymux.signal(Signal::TERM);
    for mut caller in callers {
        let reply = caller.reply().await;
        assert_eq!((reply.status(), reply.header("retry-after")), (503, Some("1")));
        assert_eq!(reply.json()["error"]["code"], "stopping");
        assert!(reply.header("x-request-id").is_some());
        assert!(caller.rest().await.is_empty());
    }
    let reply = sending.reply().await;
    assert_eq!((reply.status(), &reply.json()["type"]), (503, &json!("error")));
    assert_eq!(keymux.ended().await.code(), Some(0));
    let log = keymux.log();
    assert_eq!(log.matches("\"status\":503,\"end\":\"stopped\"").count(), 3, "{log}");
}

#[tokio::test]
async fn a_second_signal_sends_the_error_events_at_once() {
    let upstream = Upstream::always(vec![Step::Hang]).await;
    let main = provider("main", &upstream, "", &[key("only", "")]);
    let mut keymux = Keymux::start(&config("", &[main]), &[]).await;
    let mut caller = Connection::open(keymux.address()).await;
    caller.send(&http::json_request("/v1/chat/completions", &[], &json!({"model": "m"}))).await;
    upstream.request(0).await;
    let start = Instant::now();
    keymux.signal(Signal::TERM);
    keymux.log_with("stopping").await;
    keymux.signal(Signal::TERM);
    assert_eq!(caller.reply().await.status(), 503);
    assert_eq!(keymux.ended().await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn systemd_is_notified_of_start_watchdog_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let env = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let mut keymux = Keymux::start(&config("", &[ECHO.to_owned()]), &env).await;
    let mut told = Vec::new();
    let mut hear = async |until: &str| {
        loop {
            let mut bytes = [0; 4096];
            let length = http::patiently("a notification", manager.recv(&mut bytes)).await.unwrap();
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            told.push((Instant::now(), text.clone()));
            if text.contains(until) {
                return;
            }
        }
    };
    hear("READY=1").await;
    for _ in 0..5 {
        hear("WATCHDOG=1").await;
    }
    keymux.signal(Signal::TERM);
    hear("STOPPING=1").await;
    keymux.ended().await;
    let beats: Vec<Instant> =
        told.iter().filter(|(_, text)| text.contains("WATCHDOG")).map(|(at, _)| *at).collect();
    let longest = beats.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest < Duration::from_millis(200), "{longest:?}");
}

#[tokio::test]
async fn without_a_watchdog_no_keepalive_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let env = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let _keymux = Keymux::start(&config("", &[ECHO.to_owned()]), &env).await;
    sleep(Duration::from_millis(300)).await;
    let mut bytes = [0; 4096];
    while let Ok(length) = manager.try_recv(&mut bytes) {
        assert!(!String::from_utf8_lossy(&bytes[..length]).contains("WATCHDOG"));
    }
}

#[tokio::test]
async fn requests_continue_when_the_log_disk_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        return println!("skipped: no /dev/full");
    };
    let mut running = Running::start(folder.path(), |command| {
        command.stdout(full);
    })
    .await;
    ask(&running, 50).await;
    assert!(running.child.try_wait().unwrap().is_none());
}

#[tokio::test]
async fn requests_continue_when_the_log_pipe_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(folder.path(), |command| {
        command.stdout(Stdio::piped());
    })
    .await;
    drop(running.child.stdout.take());
    for _ in 0..5 {
        ask(&running, 10).await;
        sleep(Duration::from_millis(20)).await;
    }
    assert!(running.child.try_wait().unwrap().is_none());
}

#[tokio::test]
async fn requests_continue_while_the_log_reader_is_stalled_and_lost_lines_are_counted() {
    // More than the pipe (64 KiB) and the buffers (2 MiB) hold.
    const REQUESTS: usize = 7000;
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(folder.path(), |command| {
        command.stdout(Stdio::piped());
    })
    .await;
    ask(&running, REQUESTS).await;
    let mut out = running.child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = out.read_to_string(&mut text);
        text
    });
    sleep(Duration::from_millis(300)).await;
    ask(&running, 1).await;
    sleep(Duration::from_millis(300)).await;
    drop(running);
    let text = reader.join().unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let missed: u64 = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
    let written = lines.iter().filter(|line| line["target"] == "access").count() as u64;
    assert!(missed > 0 && written > 1000, "{missed} missed, {written} written");
    assert_eq!(missed + written, REQUESTS as u64 + 1);
}

/// `/proc/PID` belongs to root if the process is not dumpable, whoever runs it (proc(5)).
#[tokio::test]
async fn core_dumps_are_disabled_unless_requested() {
    const NOBODY: u32 = 65_534;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let is_root = rustix::process::getuid().is_root();
    if is_root {
        let mut probe = Command::new(env!("CARGO_BIN_EXE_keymux"));
        if probe.arg("schema").stdout(Stdio::null()).uid(NOBODY).status().is_err() {
            return println!("skipped: the program is out of reach for other users");
        }
    }
    for (allowed, readable) in [("", false), ("1", true)] {
        let running = Running::start(folder.path(), |command| {
            command.env("KEYMUX_DUMPABLE", allowed).stdout(Stdio::null());
            if is_root {
                command.uid(NOBODY);
            }
        })
        .await;
        let owner = fs::metadata(format!("/proc/{}/environ", running.child.id())).unwrap().uid();
        assert_eq!(owner != 0, readable, "{owner}");
    }
}
