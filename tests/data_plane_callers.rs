//! Callers that disconnect and callers that read slowly: the provider notices over HTTP/1 and HTTP/2.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::config::{config, key, one_key};
use common::http::{self, Connection, Framing, patiently};
use common::keymux::Keymux;
use common::upstream::{Step, Upstream, answer, chat_events, cut, json_answer, sse};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

const CHAT: &str = "/v1/chat/completions";
const PACE: Duration = Duration::from_millis(20);
/// The longest time until the provider sees the disconnect of the caller.
const SOON: Duration = Duration::from_millis(100);

/// An HTTP/2 caller without TLS and without an upgrade.
async fn http2(keymux: &Keymux) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(keymux.address()).await.unwrap();
    let connected = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = patiently("HTTP/2", connected).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(keymux: &Keymux) -> hyper::Request<Full<Bytes>> {
    hyper::Request::post(format!("{}{CHAT}", keymux.url()))
        .header("content-type", "application/json")
        .body(Full::from(json!({"model": "m", "stream": true}).to_string()))
        .unwrap()
}

/// Returns how long the provider took to see the disconnect: the best of some tries, since the machine may
/// be busy with other tests.
async fn soon(mut once: impl AsyncFnMut() -> Duration) {
    let mut best = once().await;
    for _ in 0..4 {
        if best < SOON {
            return;
        }
        best = best.min(once().await);
    }
    panic!("the provider saw it after {best:?}");
}

/// What a provider may be doing when the caller disconnects.
fn situations() -> Vec<Vec<Step>> {
    let events = chat_events(&["more"; 100]);
    let half = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    vec![
        // Before the head, streaming or not.
        vec![Step::Hang],
        // Before the first event.
        cut(sse(&events, PACE), 0, Step::Hang),
        // Between events, and while they arrive.
        cut(sse(&events, PACE), 2, Step::Hang),
        sse(&events, PACE),
        // Within a whole response.
        vec![Step::Send(half.to_vec()), Step::Hang],
    ]
}

#[tokio::test]
async fn a_disconnect_of_the_caller_closes_the_upstream_connection() {
    for steps in situations() {
        let upstream = Upstream::always(steps).await;
        let keymux = Keymux::start(&one_key(&upstream), &[]).await;
        let mut number = 0;
        soon(async || {
            let mut caller = Connection::open(keymux.address()).await;
            let body = json!({"model": "m", "stream": true});
            caller.send(&http::json_request(CHAT, &[], &body)).await;
            upstream.request(number).await;
            sleep(PACE * 4).await;
            let leaving = Instant::now();
            drop(caller);
            number += 1;
            upstream.left(number - 1).await - leaving
        })
        .await;
        keymux.log_with("\"end\":\"caller_gone\"").await;
    }
}

#[tokio::test]
async fn a_cancelled_http2_request_closes_only_its_own_upstream_connection() {
    for steps in situations() {
        let upstream = Upstream::always(steps).await;
        let keymux = Keymux::start(&one_key(&upstream), &[]).await;
        let caller = http2(&keymux).await;
        let mut number = 0;
        soon(async || {
            let mut sender = caller.clone();
            let running = tokio::spawn(sender.send_request(request(&keymux)));
            upstream.request(number).await;
            sleep(PACE * 4).await;
            let leaving = Instant::now();
            if running.is_finished() {
                drop(running.await.unwrap().unwrap());
            } else {
                running.abort();
            }
            number += 1;
            upstream.left(number - 1).await - leaving
        })
        .await;
        assert!(!caller.is_closed(), "the connection goes on");
        keymux.log_with("\"end\":\"caller_gone\"").await;
    }
}

#[tokio::test]
async fn http2_requests_run_concurrently_on_one_connection() {
    let upstream = Upstream::start(|request| {
        let mut steps = vec![Step::Pause(Duration::from_millis(100))];
        steps.extend(json_answer(200, &request.json()));
        steps
    })
    .await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let caller = http2(&keymux).await;
    let start = Instant::now();
    let ask = |number: usize| {
        let (mut caller, url) = (caller.clone(), format!("{}{CHAT}", keymux.url()));
        tokio::spawn(async move {
            let body = json!({"model": "main/m", "n": number}).to_string();
            let request = hyper::Request::post(url).body(Full::from(body)).unwrap();
            let response = caller.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["x-keymux-key"], "only");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, json!({"model": "m", "n": number}).to_string());
        })
    };
    let running: Vec<_> = (0..50).map(ask).collect();
    for one in running {
        patiently("an answer", one).await.unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn http2_callers_get_events_at_once_and_errors_in_their_format() {
    let events = chat_events(&["one", "two"]);
    let pace = Duration::from_millis(150);
    let upstream = Upstream::always(cut(sse(&events, pace), 2, Step::Close)).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let mut caller = http2(&keymux).await;
    let response = caller.send_request(request(&keymux)).await.unwrap();
    let mut body = response.into_body();
    for event in &events[..2] {
        let frame = http::within(pace * 2, "the event", body.frame()).await;
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), event);
    }
    let rest = body.collect().await.unwrap().to_bytes();
    assert!(http::sse_data(&rest)[0].starts_with("{\"error\""), "{rest:?}");

    let nowhere = hyper::Request::get(format!("{}/nowhere", keymux.url()));
    let response = caller.send_request(nowhere.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn a_cut_body_resets_its_http2_stream() {
    let half = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n".to_vec();
    let pause = Step::Pause(Duration::from_millis(50));
    let upstream = Upstream::always(vec![Step::Send(half), pause, Step::Close]).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let mut caller = http2(&keymux).await;
    let response = caller.send_request(request(&keymux)).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
}

/// A provider that writes without end, and the number of bytes it has written.
async fn fountain(content_type: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let written = Arc::<AtomicUsize>::default();
    let counter = written.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counter = counter.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                let text = "x".repeat(60_000);
                let event = format!("data: {{\"choices\":[],\"x\":\"{text}\"}}\n\n");
                while stream.write_all(event.as_bytes()).await.is_ok() {
                    counter.fetch_add(event.len(), Ordering::SeqCst);
                }
            });
        }
    });
    (url, written)
}

/// Returns the memory of keymux without the program's own text.
fn resident(keymux: &Keymux) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", keymux.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Waits until full buffers stop the provider; most of them are the kernel's.
async fn stops(written: &AtomicUsize, callers: usize) {
    const KERNEL: usize = 24 << 20;
    let mut last = 0;
    loop {
        sleep(Duration::from_millis(300)).await;
        let now = written.load(Ordering::SeqCst);
        assert!(now < callers * KERNEL, "{now} bytes written for {callers} that read nothing");
        if now == last && now > 0 {
            return;
        }
        last = now;
    }
}

async fn slow(content_type: &'static str, http2_callers: bool) {
    const CALLERS: usize = 12;
    /// Freed pages that the allocator has not given back, whatever the number of callers.
    const ALLOCATOR: usize = 24 << 20;
    const EACH: usize = 3 << 19;
    let (url, written) = fountain(content_type).await;
    let provider = format!(
        "[providers.main]\nkind = \"openai-compatible\"\nbase_url = \"{url}/v1\"\n\
         [[providers.main.keys]]\n{}",
        key("only", "")
    );
    let keymux = Keymux::start(&config("", &[provider]), &[]).await;
    let before = resident(&keymux);
    let (mut plain, mut responses) = (Vec::new(), Vec::new());
    for _ in 0..CALLERS {
        if http2_callers {
            let mut caller = http2(&keymux).await;
            responses.push(caller.send_request(request(&keymux)).await.unwrap());
        } else {
            let mut caller = Connection::open(keymux.address()).await;
            let body = json!({"model": "m", "stream": true});
            caller.send(&http::json_request(CHAT, &[], &body)).await;
            let head = caller.head().await.unwrap();
            plain.push((caller, Framing::of_answer(&head)));
        }
    }
    stops(&written, CALLERS).await;
    let grown = resident(&keymux).saturating_sub(before);
    assert!(grown < ALLOCATOR + CALLERS * EACH, "{grown} bytes for {CALLERS} slow callers");
    // It continues as soon as a caller reads.
    let stopped = written.load(Ordering::SeqCst);
    if let Some((caller, framing)) = plain.first_mut() {
        while written.load(Ordering::SeqCst) == stopped {
            caller.piece(framing).await;
        }
    }
}

#[tokio::test]
async fn a_slow_reader_of_a_stream_slows_the_provider_and_uses_no_memory() {
    slow("text/event-stream", false).await;
}

#[tokio::test]
async fn a_slow_reader_of_a_file_slows_the_provider_and_uses_no_memory() {
    slow("application/octet-stream", false).await;
}

#[tokio::test]
async fn slow_http2_readers_slow_the_provider_and_use_no_memory() {
    slow("text/event-stream", true).await;
}

#[tokio::test]
async fn a_caller_that_stops_reading_is_cut_after_the_write_timeout() {
    let big = answer(200, &[("content-type", "application/json")], &vec![b' '; 32 << 20]);
    let upstream = Upstream::always(big).await;
    let text = config(
        "write_timeout = \"300ms\"",
        &[common::config::provider("main", &upstream, "", &[key("only", "")])],
    );
    let keymux = Keymux::start(&text, &[]).await;
    let mut caller = Connection::open(keymux.address()).await;
    caller.send(&http::json_request(CHAT, &[], &json!({"model": "m"}))).await;
    upstream.left(0).await;
    keymux.log_with("\"end\":\"caller_gone\"").await;
}

#[tokio::test]
async fn an_http2_stream_that_outlives_the_drain_timeout_ends_with_an_error_event() {
    let events = chat_events(&["one", "two"]);
    let upstream = Upstream::always(cut(sse(&events, PACE), 1, Step::Hang)).await;
    let main = common::config::provider("main", &upstream, "", &[key("only", "")]);
    let mut keymux = Keymux::start(&config("drain_timeout = \"300ms\"", &[main]), &[]).await;
    let mut caller = http2(&keymux).await;
    let response = caller.send_request(request(&keymux)).await.unwrap();
    let start = Instant::now();
    keymux.signal(rustix::process::Signal::TERM);
    let body = patiently("the end", response.into_body().collect()).await.unwrap().to_bytes();
    assert!(http::sse_data(&body)[1].starts_with("{\"error\""), "{body:?}");
    assert_eq!(keymux.ended().await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    keymux.log_with("\"end\":\"stopped\"").await;
}
