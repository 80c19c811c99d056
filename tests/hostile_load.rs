//! Load over the limits: connections, file descriptors, bodies, callers that read nothing. Memory has a
//! bound, nothing spins, and waiting callers are served when there is room again. `KEYMUX_LONG=1` uses the numbers
//! for which the limits are documented.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::{config, key, one_key, provider};
use common::http::{self, Connection, Framing, Piece, exchange};
use common::keymux::Keymux;
use common::upstream::{Step, Upstream, chat_answer, chat_events, cut, sse};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

const CHAT: &str = "/v1/chat/completions";
const MIB: usize = 1 << 20;

fn is_long() -> bool {
    std::env::var_os("KEYMUX_LONG").is_some_and(|set| set == "1")
}

/// Returns the memory of keymux without the program's own text.
fn resident(keymux: &Keymux) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", keymux.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Returns the CPU time it has used, in ticks of 10 ms.
fn ticks(keymux: &Keymux) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", keymux.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Raises the file descriptor limit of this process to its maximum.
fn open_many() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}

#[tokio::test]
async fn callers_over_the_limit_wait_until_another_disconnects() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let main = provider("main", &upstream, "", &[key("only", "")]);
    let keymux = Keymux::start(&config("max_connections = 4", &[main]), &[]).await;
    let mut first = Vec::new();
    for _ in 0..4 {
        let mut caller = Connection::open(keymux.address()).await;
        caller.send(&http::request("GET", "/v1/models", &[], b"")).await;
        assert_eq!(caller.reply().await.status(), 200);
        first.push(caller);
    }
    let mut late = Connection::open(keymux.address()).await;
    late.send(&http::request("GET", "/v1/models", &[], b"")).await;
    let early = timeout(Duration::from_millis(300), late.closed()).await;
    assert!(early.is_err(), "it waits, and is not turned away");
    assert_eq!(keymux.admin("/readyz").await.status(), 200);
    assert!(keymux.admin("/metrics").await.text().contains("keymux_connections 4"));
    drop(first.pop());
    assert_eq!(late.reply().await.status(), 200);
}

#[tokio::test]
async fn without_file_descriptors_accepting_pauses_and_recovers() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    assert_eq!(http::get(keymux.address(), "/v1/models", &[]).await.status(), 200);
    let pid = Pid::from_raw(i32::try_from(keymux.pid()).unwrap());
    let fds = std::fs::read_dir(format!("/proc/{}/fd", keymux.pid())).unwrap().count() as u64;
    let few = Rlimit { current: Some(fds + 5), maximum: None };
    let Ok(_) = prlimit(pid, Resource::Nofile, Rlimit { maximum: Some(4096), ..few }) else {
        panic!("the limit of a child can be lowered");
    };
    let mut crowd = Vec::new();
    for _ in 0..50 {
        crowd.push(Connection::open(keymux.address()).await);
    }
    keymux.log_with("cannot accept").await;
    let (before, start) = (ticks(&keymux), tokio::time::Instant::now());
    sleep(Duration::from_secs(1)).await;
    let used = Duration::from_millis((ticks(&keymux) - before) * 10);
    assert!(used < start.elapsed() / 5, "{used:?} of {:?}", start.elapsed());
    assert!(keymux.log().matches("cannot accept").count() < 5, "{}", keymux.log());
    drop(crowd);
    let reply =
        exchange(keymux.address(), &http::json_request(CHAT, &[], &json!({"model": "m"}))).await;
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn large_bodies_share_bounded_memory_and_the_rest_get_retry_after() {
    const EACH: usize = 16 * MIB;
    let upstream = Upstream::always(chat_answer("hello")).await;
    let main = provider("main", &upstream, "", &[key("only", "")]);
    let text = config("max_body = \"16MiB\"\nbody_timeout = \"60s\"", &[main]);
    let keymux = Keymux::start(&text, &[]).await;
    let before = resident(&keymux);
    let start = format!("{{\"model\":\"m\",\"x\":\"{}", "y".repeat(EACH - 100));
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: k\r\ncontent-length: {}\r\n\r\n{start}",
        start.len() + 2
    );
    // 256 MiB hold sixteen.
    let mut kept = Vec::new();
    for _ in 0..15 {
        let mut caller = Connection::open(keymux.address()).await;
        caller.send(head.as_bytes()).await;
        kept.push(caller);
    }
    let mut refused = 0;
    for _ in 0..5 {
        let mut caller = Connection::open(keymux.address()).await;
        caller.send(head.as_bytes()).await;
        match timeout(Duration::from_millis(500), caller.head()).await {
            Err(_) => kept.push(caller),
            Ok(reply) => {
                let reply = reply.unwrap();
                assert_eq!((reply.status(), reply.header("retry-after")), (503, Some("1")));
                refused += 1;
            }
        }
    }
    assert!(refused >= 4, "{refused} refused");
    let grown = resident(&keymux).saturating_sub(before);
    assert!(grown < 300 * MIB, "{} MiB", grown / MIB);
    // Small bodies are still served, and large ones when there is room again.
    assert_eq!(http::post(keymux.address(), CHAT, &[], &json!({"model": "m"})).await.status(), 200);
    drop(kept);
    sleep(Duration::from_millis(200)).await;
    let large = json!({"model": "m", "x": "y".repeat(EACH - 100)});
    assert_eq!(http::post(keymux.address(), CHAT, &[], &large).await.status(), 200);
}

#[tokio::test]
async fn idle_connections_use_little_memory() {
    let callers = if is_long() { 10_000 } else { 1000 };
    let callers = callers.min(usize::try_from(open_many()).unwrap_or(usize::MAX) / 2 - 100);
    let upstream = Upstream::always(chat_answer("hello")).await;
    let main = provider("main", &upstream, "", &[key("only", "")]);
    let text = config("max_connections = 20000\nhead_timeout = \"300s\"", &[main]);
    // Silent callers and callers after a request. With few, those that were busy at the same time dominate.
    let most = if is_long() { 64 * MIB } else { 10 * MIB };
    for asked in [false, true] {
        let keymux = Keymux::start(&text, &[]).await;
        http::get(keymux.address(), "/v1/models", &[]).await;
        let before = resident(&keymux);
        let mut idle = Vec::with_capacity(callers);
        for _ in 0..callers {
            let mut caller = Connection::open(keymux.address()).await;
            if asked {
                caller.send(&http::request("GET", "/", &[], b"")).await;
                assert_eq!(caller.reply().await.status(), 200);
            }
            idle.push(caller);
        }
        // Connections after a request are parked soon.
        sleep(Duration::from_millis(500)).await;
        let connected = keymux.admin("/metrics").await.text();
        assert!(connected.contains(&format!("keymux_connections {callers}")), "{connected}");
        let grown = resident(&keymux).saturating_sub(before);
        println!("{callers} idle (asked before: {asked}): {} KiB each", grown / callers / 1024);
        assert!(grown < most, "{} KiB for {callers}", grown / 1024);
        assert_eq!(http::get(keymux.address(), "/v1/models", &[]).await.status(), 200);
    }
}

/// A provider that writes endless events to every caller.
async fn fountain() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                let text = "x".repeat(20_000);
                let event = format!("data: {{\"choices\":[],\"x\":\"{text}\"}}\n\n");
                let _ = stream.write_all(head.as_bytes()).await;
                while stream.write_all(event.as_bytes()).await.is_ok() {}
            });
        }
    });
    url
}

#[tokio::test]
async fn callers_that_read_nothing_use_bounded_memory() {
    let (callers, most) = if is_long() { (1000, 300 * MIB) } else { (100, 60 * MIB) };
    open_many();
    let url = fountain().await;
    let main = format!(
        "[providers.main]\nkind = \"openai-compatible\"\nbase_url = \"{url}/v1\"\n\
         [[providers.main.keys]]\n{}",
        key("only", "")
    );
    let keymux = Keymux::start(&config("", &[main]), &[]).await;
    http::get(keymux.address(), "/v1/models", &[]).await;
    let before = resident(&keymux);
    let mut slow = Vec::new();
    for _ in 0..callers {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        // Small, so that keymux holds the unread bytes, and not the kernel.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut caller = Connection::new(socket.connect(keymux.address()).await.unwrap());
        caller.send(&http::json_request(CHAT, &[], &json!({"model": "m", "stream": true}))).await;
        slow.push(caller);
    }
    let mut highest = 0;
    for _ in 0..if is_long() { 30 } else { 8 } {
        sleep(Duration::from_millis(500)).await;
        highest = highest.max(resident(&keymux).saturating_sub(before));
    }
    println!("{callers} that read nothing: {} KiB each", highest / callers / 1024);
    assert!(highest < most, "{} MiB for {callers}", highest / MIB);
    let mut first = slow.remove(0);
    let mut framing = Framing::of_answer(&first.head().await.unwrap());
    assert!(matches!(first.piece(&mut framing).await, Piece::Bytes(_)), "it goes on");
}

#[tokio::test]
async fn closed_connections_leave_nothing_in_memory() {
    let events = chat_events(&["one", "two"]);
    let upstream = Upstream::always(cut(sse(&events, Duration::ZERO), 1, Step::Hang)).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let mut after_some = 0;
    let rounds = if is_long() { 50 } else { 8 };
    for round in 0..rounds {
        for _ in 0..50 {
            let mut caller = TcpStream::connect(keymux.address()).await.unwrap();
            let request = http::json_request(CHAT, &[], &json!({"model": "m", "stream": true}));
            caller.write_all(&request).await.unwrap();
            let _ = timeout(Duration::from_secs(1), caller.read(&mut [0; 64])).await;
            caller.set_zero_linger().unwrap();
        }
        if round == rounds / 2 {
            after_some = resident(&keymux);
        }
    }
    let gone = async {
        while !keymux.admin("/metrics").await.text().contains("keymux_connections 0") {
            sleep(Duration::from_millis(20)).await;
        }
    };
    http::patiently("all to be gone", gone).await;
    assert!(keymux.admin("/metrics").await.text().contains("keymux_in_flight_requests 0"));
    let grown = resident(&keymux).saturating_sub(after_some);
    assert!(grown < 4 * MIB, "{} KiB", grown / 1024);
}
