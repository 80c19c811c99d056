//! HTTP/2 callers that flood, stall and exceed limits, frame by frame (RFC 9113). Each loses its own connection or
//! stream; other callers are not affected, and memory does not grow.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::{config, key, provider};
use common::http;
use common::keymux::Keymux;
use common::upstream::{Step, Upstream, chat_answer, chat_events, sse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const CHAT: &str = "/v1/chat/completions";
const STREAM: &[u8] = b"{\"model\":\"m\",\"stream\":true}";

// Section 6 names the types, section 7 the codes.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// Returns the code of a RST_STREAM or GOAWAY.
    fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

struct Caller(TcpStream);

impl Caller {
    /// Connects with these SETTINGS of the caller.
    async fn open(keymux: &Keymux, settings: &[(u16, u32)]) -> Self {
        let mut caller = Self(TcpStream::connect(keymux.address()).await.unwrap());
        caller.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let settings = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat());
        caller.raw(&frame(SETTINGS, 0, 0, &settings.collect::<Vec<_>>())).await;
        caller
    }

    /// Returns false if the other side is closed or reads no more.
    async fn raw(&mut self, bytes: &[u8]) -> bool {
        let written = timeout(Duration::from_secs(2), self.0.write_all(bytes)).await;
        matches!(written, Ok(Ok(())))
    }

    /// Sends a whole request.
    async fn ask(&mut self, stream: u32, body: &[u8]) -> bool {
        let head = frame(HEADERS, END_HEADERS, stream, &head("POST", CHAT, &[]));
        self.raw(&[head, frame(DATA, END_STREAM, stream, body)].concat()).await
    }

    /// Returns the next frame; pings and settings are answered. `None`: the connection is closed.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let mut start = [0; 9];
            let read = async {
                self.0.read_exact(&mut start).await.ok()?;
                let length = u32::from_be_bytes([0, start[0], start[1], start[2]]) as usize;
                let mut payload = vec![0; length];
                self.0.read_exact(&mut payload).await.ok()?;
                Some(payload)
            };
            let payload = http::patiently("a frame", read).await?;
            let stream = u32::from_be_bytes(start[5..9].try_into().unwrap()) & (u32::MAX >> 1);
            let frame = Frame { kind: start[3], flags: start[4], stream, payload };
            match frame.kind {
                PING if frame.flags & ACK == 0 => {
                    self.raw(&self::frame(PING, ACK, 0, &frame.payload)).await;
                }
                SETTINGS if frame.flags & ACK == 0 => {
                    self.raw(&self::frame(SETTINGS, ACK, 0, b"")).await;
                }
                SETTINGS | PING | WINDOW_UPDATE => {}
                _ => return Some(frame),
            }
        }
    }

    /// Waits for the end of the connection. Returns the code of its GOAWAY, if there is one.
    async fn end(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                code = Some(frame.code());
            }
        }
        code
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Encodes fields as literals without indexing (RFC 7541, section 6.2.2).
fn head(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "k")];
    let mut out = Vec::new();
    for (name, value) in fields.iter().chain(more) {
        out.push(0);
        for text in [name, value] {
            integer(&mut out, text.len());
            out.extend(text.as_bytes());
        }
    }
    out
}

/// Encodes a string with a 7-bit length prefix (RFC 7541, section 5.1).
fn integer(out: &mut Vec<u8>, number: usize) {
    if number < 127 {
        return out.push(u8::try_from(number).unwrap());
    }
    out.push(127);
    let mut rest = number - 127;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

async fn start(settings: &str, steps: Vec<Step>) -> (Keymux, Upstream) {
    let upstream = Upstream::always(steps).await;
    let main = provider("main", &upstream, "", &[key("only", "")]);
    (Keymux::start(&config(settings, &[main]), &[]).await, upstream)
}

/// Returns the memory of keymux without the program's own text.
fn resident(keymux: &Keymux) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", keymux.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

async fn others_are_served(keymux: &Keymux) {
    let asked = http::get(keymux.address(), "/v1/models", &[]);
    assert_eq!(http::within(Duration::from_secs(2), "an answer", asked).await.status(), 200);
}

#[tokio::test]
async fn rapid_resets_close_the_callers_connection() {
    let (keymux, upstream) = start("", vec![Step::Hang]).await;
    let mut caller = Caller::open(&keymux, &[]).await;
    let mut burst = Vec::new();
    for stream in (1..20_001).step_by(2) {
        burst.extend(frame(HEADERS, END_HEADERS, stream, &head("POST", CHAT, &[])));
        burst.extend(frame(DATA, END_STREAM, stream, STREAM));
        burst.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    caller.raw(&burst).await;
    let code = caller.end().await;
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM)), "{code:?}");
    assert!(upstream.requests().len() < 2000, "{}", upstream.requests().len());
    others_are_served(&keymux).await;
}

/// Sends one frame repeatedly and reads nothing, until the other side closes or this number of frames is
/// sent. Then checks that other callers are not affected.
async fn flood(each: &[u8], bursts: usize) {
    let (keymux, _upstream) = start("write_timeout = \"500ms\"", chat_answer("hello")).await;
    others_are_served(&keymux).await;
    let before = resident(&keymux);
    let mut caller = Caller::open(&keymux, &[]).await;
    let burst = each.repeat(10_000);
    for _ in 0..bursts {
        if !caller.raw(&burst).await {
            break;
        }
        others_are_served(&keymux).await;
    }
    let grown = resident(&keymux).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
}

#[tokio::test]
async fn a_flood_of_unread_ping_replies_is_bounded() {
    flood(&frame(PING, 0, 0, b"01234567"), 200).await;
}

#[tokio::test]
async fn a_flood_of_unread_settings_replies_is_bounded() {
    flood(&frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]), 200).await;
}

#[tokio::test]
async fn a_flood_of_window_updates_uses_no_memory() {
    flood(&frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()), 50).await;
}

#[tokio::test]
async fn a_flood_of_priority_frames_uses_no_memory() {
    flood(&frame(2, 0, 1, &[0, 0, 0, 0, 1]), 50).await;
}

#[tokio::test]
async fn invalid_windows_and_frames_close_the_connection() {
    let (keymux, _upstream) = start("", chat_answer("hello")).await;
    for bad in [
        frame(WINDOW_UPDATE, 0, 0, &(u32::MAX >> 1).to_be_bytes()),
        frame(WINDOW_UPDATE, 0, 0, &0_u32.to_be_bytes()),
        frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
        frame(PING, 0, 0, b"short"),
        frame(DATA, 0, 0, b"x"),
        frame(DATA, 0, 7, b"x"),
        frame(CONTINUATION, END_HEADERS, 1, b""),
        frame(HEADERS, END_HEADERS, 2, &head("POST", CHAT, &[])),
        frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"),
        [&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1][..], b"x"].concat(),
    ] {
        let mut caller = Caller::open(&keymux, &[]).await;
        caller.raw(&bad).await;
        let code = caller.end().await;
        assert!(code.is_none_or(|code| code != 0), "{bad:?}");
    }
    others_are_served(&keymux).await;
}

#[tokio::test]
async fn an_endless_head_closes_the_connection() {
    let (keymux, upstream) = start("", chat_answer("hello")).await;
    let before = resident(&keymux);
    let filler: Vec<(String, String)> =
        (0..100).map(|n| (format!("x-{n}"), "y".repeat(100))).collect();
    let filler: Vec<(&str, &str)> = filler.iter().map(|(n, v)| (&**n, &**v)).collect();
    for more in [head("POST", CHAT, &filler)[50..].to_vec(), Vec::new()] {
        let mut caller = Caller::open(&keymux, &[]).await;
        caller.raw(&frame(HEADERS, 0, 1, &head("POST", CHAT, &[]))).await;
        let mut sent = 0;
        while sent < 100_000 && caller.raw(&frame(CONTINUATION, 0, 1, &more)).await {
            sent += 1;
        }
        assert!(sent < 100_000, "{} bytes each", more.len());
    }
    assert!(resident(&keymux).saturating_sub(before) < 16 << 20);
    assert!(upstream.requests().is_empty());
    others_are_served(&keymux).await;
}

#[tokio::test]
async fn a_flood_of_empty_data_frames_closes_the_connection() {
    let (keymux, upstream) = start("", chat_answer("hello")).await;
    let mut caller = Caller::open(&keymux, &[]).await;
    caller.raw(&frame(HEADERS, END_HEADERS, 1, &head("POST", CHAT, &[]))).await;
    let empty = frame(DATA, 0, 1, b"").repeat(10_000);
    let mut bursts = 0;
    while bursts < 100 && caller.raw(&empty).await {
        bursts += 1;
    }
    assert!(bursts < 100);
    assert!(upstream.requests().is_empty());
    others_are_served(&keymux).await;
}

#[tokio::test]
async fn streams_over_the_limit_are_refused_and_the_others_continue() {
    let mut steps = vec![Step::Pause(Duration::from_millis(100))];
    steps.extend(chat_answer("hello"));
    let (keymux, upstream) = start("", steps).await;
    let mut caller = Caller::open(&keymux, &[]).await;
    for stream in (1..=600).step_by(2) {
        assert!(caller.raw(&frame(HEADERS, END_HEADERS, stream, &head("POST", CHAT, &[]))).await);
    }
    let mut refused = Vec::new();
    while refused.len() < 44 {
        let frame = caller.next().await.expect("the connection goes on");
        assert_eq!((frame.kind, frame.code()), (RST_STREAM, REFUSED_STREAM));
        refused.push(frame.stream);
    }
    assert!(refused.iter().all(|stream| *stream > 512), "{refused:?}");
    for stream in (1..=512).step_by(2) {
        caller.raw(&frame(DATA, END_STREAM, stream, b"{\"model\":\"m\"}")).await;
    }
    let mut answered = 0;
    while answered < 256 {
        let frame = caller.next().await.expect("the connection goes on");
        assert_ne!(frame.kind, RST_STREAM);
        answered += usize::from(frame.kind == HEADERS);
    }
    assert_eq!(upstream.requests().len(), 256);
}

#[tokio::test]
async fn http2_heads_have_the_limits_of_http1_heads() {
    let (keymux, upstream) = start("", chat_answer("hello")).await;
    let many: Vec<String> = (0..101).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (&**name, "1")).collect();
    let mut caller = Caller::open(&keymux, &[]).await;
    caller
        .raw(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", "/v1/models", &many)))
        .await;
    let answer = caller.next().await.unwrap();
    assert_eq!((answer.kind, answer.stream), (HEADERS, 1));
    let body = caller.next().await.unwrap();
    assert!(String::from_utf8_lossy(&body.payload).contains("headers_too_large"), "{body:?}");

    let big = "y".repeat(15_000);
    let large = head(
        "GET",
        "/v1/models",
        &[("a", &big), ("b", &big), ("c", &big), ("d", &big), ("e", &big)],
    );
    let mut pieces = large.chunks(16_000);
    caller.raw(&frame(HEADERS, END_STREAM, 3, pieces.next().unwrap())).await;
    for piece in pieces.by_ref() {
        caller.raw(&frame(CONTINUATION, 0, 3, piece)).await;
    }
    caller.raw(&frame(CONTINUATION, END_HEADERS, 3, b"")).await;
    // hyper's response 431, or the end of the stream.
    let answer = caller.next().await;
    assert!(answer.is_none_or(|frame| frame.kind != DATA));
    assert!(upstream.requests().is_empty());
    others_are_served(&keymux).await;
}

#[tokio::test]
async fn a_stream_with_a_closed_window_is_reset_and_its_provider_released() {
    let events = chat_events(&["more"; 50]);
    let (keymux, upstream) =
        start("write_timeout = \"300ms\"", sse(&events, Duration::from_millis(5))).await;
    // SETTINGS_INITIAL_WINDOW_SIZE
    let mut caller = Caller::open(&keymux, &[(4, 0)]).await;
    assert!(caller.ask(1, STREAM).await);
    loop {
        let frame = caller.next().await.expect("the connection goes on");
        assert_ne!(frame.kind, DATA);
        if frame.kind == RST_STREAM {
            break;
        }
    }
    upstream.left(0).await;
    keymux.log_with("\"end\":\"caller_gone\"").await;
    // The same caller may still send requests, and gets what its window allows.
    caller.raw(&frame(WINDOW_UPDATE, 0, 0, &100_000_u32.to_be_bytes())).await;
    assert!(caller.ask(3, STREAM).await);
    assert_eq!(caller.next().await.unwrap().kind, HEADERS);
}

#[tokio::test]
async fn a_silent_http2_caller_is_cut_as_over_http1() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let main = provider("main", &upstream, "", &[key("only", "")]);
    let keymux = Keymux::start(&config("head_timeout = \"300ms\"", &[main]), &[]).await;
    for half in [&b""[..], &frame(HEADERS, 0, 1, &head("GET", "/v1/models", &[]))] {
        let mut caller = Caller::open(&keymux, &[]).await;
        caller.raw(half).await;
        http::within(Duration::from_secs(2), "the end", caller.end()).await;
    }
}

#[tokio::test]
async fn a_stalled_http2_upload_is_refused() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let main = provider("main", &upstream, "", &[key("only", "")]);
    let keymux = Keymux::start(&config("body_timeout = \"300ms\"", &[main]), &[]).await;
    let mut caller = Caller::open(&keymux, &[]).await;
    caller.raw(&frame(HEADERS, END_HEADERS, 1, &head("POST", CHAT, &[]))).await;
    caller.raw(&frame(DATA, 0, 1, b"{")).await;
    assert_eq!(caller.next().await.unwrap().kind, HEADERS);
    let body = caller.next().await.unwrap();
    assert!(String::from_utf8_lossy(&body.payload).contains("request_timeout"), "{body:?}");
    // A reset upload is logged as a disconnect of the caller.
    caller.raw(&frame(HEADERS, END_HEADERS, 3, &head("POST", CHAT, &[]))).await;
    caller.raw(&frame(DATA, 0, 3, b"{")).await;
    sleep(Duration::from_millis(50)).await;
    caller.raw(&frame(RST_STREAM, 0, 3, &8_u32.to_be_bytes())).await;
    keymux.log_with("\"end\":\"caller_gone\"").await;
    assert!(upstream.requests().is_empty());
}
