//! The life cycle of the program: listeners, shutdown, failures at the start.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use common::config::{config, key, one_key, provider};
use common::http::{self, Connection, Framing, Piece};
use common::keymux::{Keymux, free_ports, run};
use common::upstream::{Step, Upstream, chat_events, cut, sse};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep};

const CHAT: &str = "/v1/chat/completions";
const ECHO: &str = "[providers.echo]\n[[providers.echo.keys]]\nname = \"e\"\n";

fn stream_request() -> Vec<u8> {
    http::json_request(CHAT, &[], &json!({"model": "m", "stream": true}))
}

/// A stream whose head and first event have arrived.
async fn begun(keymux: &Keymux) -> (Connection, Framing) {
    let mut caller = Connection::open(keymux.address()).await;
    caller.send(&stream_request()).await;
    let head = caller.head().await.unwrap();
    let mut framing = Framing::of_answer(&head);
    assert!(matches!(caller.piece(&mut framing).await, Piece::Bytes(_)));
    (caller, framing)
}

async fn until_refused(keymux: &Keymux) {
    let refused = async {
        while TcpStream::connect(keymux.address()).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    http::within(Duration::from_secs(2), "new connections to be refused", refused).await;
}

#[tokio::test]
async fn sigterm_finishes_running_streams_and_accepts_no_connections() {
    let events = chat_events(&["one", "two", "three", "four", "five"]);
    let upstream = Upstream::always(sse(&events, Duration::from_millis(150))).await;
    let mut keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let mut resting = Connection::open(keymux.address()).await;
    resting.send(&http::request("GET", "/v1/models", &[], b"")).await;
    assert_eq!(resting.reply().await.status(), 200);
    let (mut caller, framing) = begun(&keymux).await;

    keymux.signal(Signal::TERM);
    until_refused(&keymux).await;
    let ready = keymux.admin("/readyz").await;
    assert_eq!((ready.status(), &ready.json()["status"]), (503, &json!("stopping")));
    assert_eq!(keymux.admin("/livez").await.status(), 200, "it lives");
    assert!(resting.rest().await.is_empty(), "a connection without a request is closed");

    let (rest, complete) = caller.body(framing).await;
    assert!(complete);
    assert_eq!(String::from_utf8(rest).unwrap(), events[1..].concat());
    assert_eq!(keymux.ended().await.code(), Some(0));
}

#[tokio::test]
async fn sigterm_and_sigint_stop_an_idle_daemon_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut keymux = Keymux::start(&config("", &[ECHO.to_owned()]), &[]).await;
        let silent = Connection::open(keymux.address()).await;
        let start = Instant::now();
        keymux.signal(signal);
        assert_eq!(keymux.ended().await.code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        drop(silent);
    }
}

#[tokio::test]
async fn a_stream_still_running_after_the_drain_timeout_gets_an_error_event() {
    let events = chat_events(&["one", "two"]);
    let upstream = Upstream::always(cut(sse(&events, Duration::ZERO), 1, Step::Hang)).await;
    let main = provider("main", &upstream, "", &[key("only", "")]);
    let mut keymux = Keymux::start(&config("drain_timeout = \"300ms\"", &[main]), &[]).await;
    let (mut caller, framing) = begun(&keymux).await;
    let start = Instant::now();
    keymux.signal(Signal::TERM);
    let (rest, complete) = caller.body(framing).await;
    assert!(complete, "the error event is the end");
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.starts_with("data: {\"error\":") && !rest.contains("[DONE]"), "{rest}");
    assert!(start.elapsed() >= Duration::from_millis(290), "{:?}", start.elapsed());
    assert_eq!(keymux.ended().await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    keymux.log_with("\"end\":\"stopped\"").await;
}

#[tokio::test]
async fn a_second_signal_cuts_at_once() {
    let events = chat_events(&["one", "two"]);
    let upstream = Upstream::always(cut(sse(&events, Duration::ZERO), 1, Step::Hang)).await;
    let mut keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let (mut caller, framing) = begun(&keymux).await;
    keymux.signal(Signal::TERM);
    until_refused(&keymux).await;
    let start = Instant::now();
    keymux.signal(Signal::TERM);
    let (rest, _) = caller.body(framing).await;
    assert!(rest.starts_with(b"data: {\"error\":"));
    assert_eq!(keymux.ended().await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_unanswered_request_ends_with_the_drain_timeout() {
    let upstream = Upstream::always(vec![Step::Hang]).await;
    let main = provider("main", &upstream, "", &[key("only", "")]);
    let mut keymux = Keymux::start(&config("drain_timeout = \"200ms\"", &[main]), &[]).await;
    let mut caller = Connection::open(keymux.address()).await;
    caller.send(&stream_request()).await;
    upstream.request(0).await;
    let start = Instant::now();
    keymux.signal(Signal::TERM);
    assert_eq!(keymux.ended().await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(!String::from_utf8_lossy(&caller.rest().await).contains(" 200 "));
}

#[tokio::test]
async fn an_invalid_file_at_the_start_exits_with_code_78() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keymux.toml");
    std::fs::write(&path, "[server]\nlisten = \"nowhere\"\nmax_boddy = \"1MiB\"\n").unwrap();
    for arguments in [&["run", "--config", "keymux.toml"][..], &["--config", "keymux.toml"], &[]] {
        let output = run(folder.path(), arguments, &[]);
        assert_eq!(output.status.code(), Some(78));
        let report = String::from_utf8(output.stderr).unwrap();
        for words in ["keymux.toml:2:", "keymux.toml:3:", "max_body", "provider"] {
            assert!(report.contains(words), "{words} in {report}");
        }
    }
    std::fs::remove_file(&path).unwrap();
    let output = run(folder.path(), &["run", "--config", "keymux.toml"], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8(output.stderr).unwrap().contains("keymux.toml"));
}

#[tokio::test]
async fn a_port_in_use_exits_with_code_1() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let [free, _] = free_ports();
    let free = format!("127.0.0.1:{free}");
    for (server, admin, named) in
        [(&taken, &free, "server.listen"), (&free, &taken, "admin.listen")]
    {
        let folder = tempfile::tempdir().unwrap();
        let text =
            format!("[server]\nlisten = \"{server}\"\n[admin]\nlisten = \"{admin}\"\n{ECHO}");
        std::fs::write(folder.path().join("keymux.toml"), text).unwrap();
        let output = run(folder.path(), &["run"], &[]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&taken) && said.contains(named) && said.contains("in use"), "{said}");
    }
}

/// Sends `GET /v1/models` over a unix socket.
async fn ask_at(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let request = b"GET /v1/models HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    http::patiently("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn a_unix_socket_serves_and_is_removed_at_the_end() {
    let text = config("", &[ECHO.to_owned()])
        .replace("\"127.0.0.1:{PORT}\"", "\"unix:{DIR}/keymux.sock\"");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("keymux.sock");
    // A socket file that a killed process left.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.symlink_metadata().unwrap().file_type().is_socket());
    let mut keymux = Keymux::start_in(folder, &text, &[]).await;
    assert!(ask_at(&socket).await.starts_with("HTTP/1.1 200 "));

    // A socket with a listener is not removed.
    let other = tempfile::tempdir().unwrap();
    let second = format!(
        "[server]\nlisten = \"unix:{}\"\n[admin]\nlisten = \"127.0.0.1:{}\"\n{ECHO}",
        socket.display(),
        free_ports()[0]
    );
    std::fs::write(other.path().join("keymux.toml"), second).unwrap();
    let output = run(other.path(), &["run"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("keymux.sock") && said.contains("in use"), "{said}");
    assert!(ask_at(&socket).await.starts_with("HTTP/1.1 200 "));

    assert_eq!(keymux.stop().await.code(), Some(0));
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_file_other_than_a_socket_is_never_removed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("precious"), "data").unwrap();
    let text = format!(
        "[server]\nlisten = \"unix:{}/precious\"\n[admin]\nlisten = \"127.0.0.1:{}\"\n{ECHO}",
        folder.path().display(),
        free_ports()[0]
    );
    std::fs::write(folder.path().join("keymux.toml"), text).unwrap();
    assert_eq!(run(folder.path(), &["run"], &[]).status.code(), Some(1));
    assert_eq!(std::fs::read(folder.path().join("precious")).unwrap(), b"data");
}

#[tokio::test]
async fn healthcheck_distinguishes_ready_stopping_and_down() {
    let events = chat_events(&["one", "two"]);
    let upstream = Upstream::always(cut(sse(&events, Duration::ZERO), 1, Step::Hang)).await;
    let mut keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let check = || run(keymux.folder(), &["healthcheck", "--config", "keymux.toml"], &[]);
    let output = check();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"ready\n"[..]));
    let running = begun(&keymux).await;
    keymux.signal(Signal::TERM);
    until_refused(&keymux).await;
    let output = check();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("503"));
    drop(running);
    keymux.ended().await;
    let output = run(keymux.folder(), &["healthcheck"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("not ready"));
}

#[tokio::test]
async fn the_first_log_line_contains_a_working_curl_command() {
    let keymux = Keymux::start(&config("", &[ECHO.to_owned()]), &[]).await;
    let log = keymux.log_with("try: curl").await;
    let address = keymux.address().to_string();
    assert!(log.contains(&address) && log.contains("echo/echo"), "{log}");
}
