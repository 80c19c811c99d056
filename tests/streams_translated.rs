//! Translated streams: whatever breaks, the caller gets an error event of its own
//! format after the text so far, and never a stream that looks finished.
//!
//! Every caller's format is tested with every provider's, and the requested model selects the failure.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::BytesMut;
use common::config::{config, key, native, provider};
use common::http::{self, Connection, Framing, Piece, Reply};
use common::keymux::Keymux;
use common::upstream::{Received, Step, Upstream, chat_events, chunk, message_events};
use keymux::wire::frame::aws_event_stream::{Frame, Frames, exception};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const PACE: Duration = Duration::from_millis(15);
const IDLE: &str = "timeouts = { idle = \"700ms\" }";
const AWS: &str = "application/vnd.amazon.eventstream";

/// The providers, each named after its format.
const PROVIDERS: [&str; 4] = ["chat", "anthropic", "gemini", "bedrock"];
/// The callers: OpenAI's two, Anthropic's, Gemini's two framings, Bedrock's.
const CALLERS: [&str; 6] = ["chat", "responses", "anthropic", "gemini", "gemini-array", "bedrock"];

/// How a provider fails after it has sent `one `.
const FAULTS: [&str; 6] = ["close", "reset", "stall", "clean-end", "error-event", "garbled"];

/// The providers that a caller's request is translated for. An OpenAI-compatible one has both of OpenAI's APIs.
fn others(caller: &str) -> impl Iterator<Item = &'static str> {
    let own = match caller {
        "gemini-array" => "gemini",
        "responses" => "chat",
        own => own,
    };
    PROVIDERS.into_iter().filter(move |from| *from != own)
}

#[tokio::test]
async fn a_broken_translated_stream_ends_with_an_error_in_the_callers_format() {
    let upstream = Upstream::start(play).await;
    let keymux = Arc::new(keymux(&upstream).await);
    for (caller, from, fault, reply, _) in ask_all(&keymux, &FAULTS).await {
        let told = format!("{caller} from {from}, {fault}: {}", reply.text());
        assert_eq!(reply.status(), 200, "{told}");
        let heard = Heard::of(caller, &reply);
        assert!(heard.text.starts_with("one "), "{told}");
        assert!(!heard.finished, "{told}");
        assert!(heard.error, "{told}");
    }
}

#[tokio::test]
async fn a_complete_translated_stream_is_complete_in_every_format() {
    let upstream = Upstream::start(play).await;
    let keymux = Arc::new(keymux(&upstream).await);
    for (caller, from, _, reply, _) in ask_all(&keymux, &["fine", "open"]).await {
        let told = format!("{caller} from {from}: {}", reply.text());
        let heard = Heard::of(caller, &reply);
        assert_eq!((reply.status(), &*heard.text), (200, "one two "), "{told}");
        assert!(heard.finished && !heard.error && reply.complete, "{told}");
    }
}

#[tokio::test]
async fn nothing_follows_an_error_event_even_if_the_provider_continues() {
    let upstream = Upstream::start(play).await;
    let keymux = Arc::new(keymux_with("", &upstream).await);
    let models = ["error-and-open", "garbled-and-open", "garbled-and-more"];
    for (caller, from, fault, reply, took) in ask_all(&keymux, &models).await {
        let told = format!("{caller} from {from}, {fault}: {}", reply.text());
        let heard = Heard::of(caller, &reply);
        assert!(heard.text == "one " && heard.error && !heard.finished, "{told}");
        assert!(took < Duration::from_secs(5), "{took:?} {told}");
    }
    for number in 0..upstream.requests().len() {
        upstream.left(number).await;
    }
}

#[tokio::test]
async fn a_translated_stream_that_fails_before_its_first_token_becomes_an_error_status() {
    let upstream = Upstream::start(play).await;
    let keymux = keymux(&upstream).await;
    for caller in CALLERS {
        for from in others(caller) {
            // Each case has its own model, so no cooldown affects another.
            let reply = ask(&keymux, caller, &format!("{from}/error-first@{caller}")).await;
            let told = format!("{caller} from {from}: {} {}", reply.status(), reply.text());
            assert!(reply.status() >= 429, "{told}");
            let body = reply.json();
            let message = match caller {
                "bedrock" => &body["message"],
                _ => &body["error"]["message"],
            };
            assert!(message.as_str().is_some_and(|text| text.contains("Overloaded")), "{told}");
            let reply = ask(&keymux, caller, &format!("{from}/nothing@{caller}")).await;
            assert_eq!(reply.status(), 502, "{caller} from {from}: {}", reply.text());
        }
    }
}

#[tokio::test]
async fn a_stream_still_running_after_the_drain_timeout_gets_an_error_event() {
    let upstream = Upstream::start(play).await;
    let text =
        config("drain_timeout = \"300ms\"", &[provider("chat", &upstream, "", &[key("chat", "")])]);
    let mut keymux = Keymux::start(&text, &[]).await;
    let mut callers = Vec::new();
    for caller in ["anthropic", "gemini", "gemini-array", "bedrock"] {
        let mut connection = Connection::open(keymux.address()).await;
        connection.send(&request(caller, "chat/hang")).await;
        let head = connection.head().await.unwrap();
        let mut framing = Framing::of_answer(&head);
        let Piece::Bytes(first) = connection.piece(&mut framing).await else { panic!("{caller}") };
        callers.push((caller, connection, head, framing, first));
    }
    keymux.signal(Signal::TERM);
    for (caller, mut connection, head, framing, mut body) in callers {
        let (rest, complete) = connection.body(framing).await;
        body.extend(rest);
        let reply = Reply { head, body, complete };
        let heard = Heard::of(caller, &reply);
        assert!(heard.error && !heard.finished && complete, "{caller}: {}", reply.text());
    }
    assert_eq!(keymux.ended().await.code(), Some(0));
}

#[tokio::test]
async fn an_endless_event_becomes_an_error_event() {
    let upstream = Upstream::start(play).await;
    let keymux = keymux(&upstream).await;
    let reply = ask(&keymux, "anthropic", "chat/endless").await;
    let heard = Heard::of("anthropic", &reply);
    assert!(heard.text == "one " && heard.error && !heard.finished, "{heard:?}");
    assert!(reply.body.len() < 64 * 1024, "{}", reply.body.len());
}

#[tokio::test]
async fn a_disconnect_of_the_caller_closes_the_provider() {
    let upstream = Upstream::start(play).await;
    let keymux = keymux(&upstream).await;
    for (caller, from) in
        [("chat", "anthropic"), ("anthropic", "chat"), ("gemini", "bedrock"), ("bedrock", "gemini")]
    {
        for model in ["silent", "hang", "slow"] {
            let mut best = Duration::MAX;
            for _ in 0..5 {
                let mut connection = Connection::open(keymux.address()).await;
                let number = upstream.requests().len();
                connection.send(&request(caller, &format!("{from}/{model}"))).await;
                upstream.request(number).await;
                sleep(PACE * 4).await;
                let leaving = Instant::now();
                drop(connection);
                best = best.min(upstream.left(number).await - leaving);
                if best < Duration::from_millis(100) {
                    break;
                }
            }
            assert!(best < Duration::from_millis(100), "{best:?} {caller} from {from}, {model}");
        }
    }
}

#[tokio::test]
async fn a_slow_reader_slows_the_provider_and_uses_no_memory() {
    const CALLERS: usize = 12;
    /// A megabyte for each, and pages that the allocator has freed and not given back.
    const MOST: usize = (24 + CALLERS) << 20;
    let (url, written) = fountain().await;
    let from = format!(
        "[providers.chat]\nkind = \"openai-compatible\"\nbase_url = \"{url}/v1\"\n\
         [[providers.chat.keys]]\n{}",
        key("only", "")
    );
    let keymux = Keymux::start(&config("", &[from]), &[]).await;
    let before = resident(&keymux);
    let mut callers = Vec::new();
    for number in 0..CALLERS {
        let mut caller = Connection::open(keymux.address()).await;
        let format = ["anthropic", "gemini", "bedrock"][number % 3];
        caller.send(&request(format, "chat/m")).await;
        let head = caller.head().await.unwrap();
        assert_eq!(head.status(), 200);
        callers.push((caller, Framing::of_answer(&head)));
    }
    let stopped = stops(&written).await;
    let grown = resident(&keymux).saturating_sub(before);
    assert!(grown < MOST, "{grown} bytes for {CALLERS} slow callers");
    let (caller, framing) = &mut callers[0];
    while written.load(Ordering::SeqCst) == stopped {
        caller.piece(framing).await;
    }
}

/// A stream as a caller sees it.
#[derive(Debug, Default)]
struct Heard {
    text: String,
    /// True if anything lets the SDK take it for complete.
    finished: bool,
    /// True if the last event is an error of its format.
    error: bool,
}

impl Heard {
    fn of(caller: &str, reply: &Reply) -> Self {
        let mut heard = Self::default();
        if caller == "bedrock" {
            heard.aws(&reply.body);
        } else if caller == "gemini-array" {
            let whole: Value = reply.json();
            whole.as_array().unwrap().iter().for_each(|event| heard.gemini(event));
        } else {
            for data in http::sse_data(&reply.body) {
                if data == "[DONE]" {
                    heard.finished = true;
                    continue;
                }
                let event: Value = serde_json::from_str(&data).unwrap();
                assert!(caller != "responses" || event["type"].is_string(), "{}", reply.text());
                match caller {
                    "chat" => heard.chat(&event),
                    "responses" => heard.responses(&event),
                    "anthropic" => heard.anthropic(&event),
                    _ => heard.gemini(&event),
                }
            }
        }
        heard
    }

    fn say(&mut self, text: &Value) {
        assert!(!self.error, "a word behind the error");
        self.text.push_str(text.as_str().unwrap_or_default());
    }

    fn chat(&mut self, event: &Value) {
        self.say(&event["choices"][0]["delta"]["content"]);
        self.finished |= event["choices"][0]["finish_reason"].is_string();
        self.error |= event["error"]["message"].is_string();
    }

    fn responses(&mut self, event: &Value) {
        match event["type"].as_str().unwrap() {
            "response.output_text.delta" => self.say(&event["delta"]),
            "response.completed" | "response.incomplete" => self.finished = true,
            "response.failed" => self.error |= event["response"]["error"]["message"].is_string(),
            _ => {}
        }
    }

    fn anthropic(&mut self, event: &Value) {
        self.say(&event["delta"]["text"]);
        self.finished |=
            event["type"] == "message_stop" || event["delta"]["stop_reason"].is_string();
        self.error |= event["type"] == "error" && event["error"]["message"].is_string();
    }

    fn gemini(&mut self, event: &Value) {
        let candidate = &event["candidates"][0];
        self.say(&candidate["content"]["parts"][0]["text"]);
        self.finished |= candidate["finishReason"].is_string();
        self.error |= event["error"]["message"].is_string() && event["error"]["code"].is_number();
    }

    fn aws(&mut self, body: &[u8]) {
        let mut frames = Frames::new(1 << 20);
        frames.push(body, |frame| match frame {
            Frame::Event { kind, payload } => {
                let event: Value = serde_json::from_slice(payload).unwrap();
                self.say(&event["delta"]["text"]);
                self.finished |= kind == "messageStop";
            }
            Frame::Exception { payload, .. } => {
                let told: Value = serde_json::from_slice(payload).unwrap();
                self.error |= told["message"].is_string();
            }
            other => panic!("{other:?}"),
        });
    }
}

/// An answer: its caller, its provider, what was asked for, and how long it took.
type Asked = (&'static str, &'static str, &'static str, Reply, Duration);

/// Requests each model of each provider for every caller, concurrently.
async fn ask_all(keymux: &Arc<Keymux>, models: &[&'static str]) -> Vec<Asked> {
    let mut asked = JoinSet::new();
    for caller in CALLERS {
        for from in others(caller) {
            for model in models.iter().copied() {
                // Only HTTP ends a Gemini stream: one that stays open has stalled.
                if (from, model) == ("gemini", "open") {
                    continue;
                }
                let keymux = keymux.clone();
                asked.spawn(async move {
                    let start = Instant::now();
                    let reply = ask(&keymux, caller, &format!("{from}/{model}")).await;
                    (caller, from, model, reply, start.elapsed())
                });
            }
        }
    }
    asked.join_all().await
}

/// Starts keymux with the four providers, all at one address.
async fn keymux(upstream: &Upstream) -> Keymux {
    keymux_with(IDLE, upstream).await
}

async fn keymux_with(idle: &str, upstream: &Upstream) -> Keymux {
    let own = |name: &str| key(name, "");
    let text = config(
        "",
        &[
            provider("chat", upstream, idle, &[own("chat")]),
            native("anthropic", "anthropic", upstream, idle, &[own("anthropic")]),
            native("gemini", "gemini", upstream, idle, &[own("gemini")]),
            native("bedrock", "bedrock", upstream, idle, &[own("bedrock")]),
        ],
    );
    Keymux::start(&text, &[]).await
}

async fn ask(keymux: &Keymux, caller: &str, model: &str) -> Reply {
    http::exchange(keymux.address(), &request(caller, model)).await
}

/// A request for a stream.
fn request(caller: &str, model: &str) -> Vec<u8> {
    // A model name without a known vendor would be taken for one of the caller's format.
    let model = &*model.replace("bedrock/", "bedrock/amazon.nova-");
    let segment = model.replace('/', "%2F");
    let turns = json!([{"role": "user", "content": "Hello there"}]);
    let contents = json!([{"role": "user", "parts": [{"text": "Hello there"}]}]);
    let (path, body) = match caller {
        "chat" => (
            "/v1/chat/completions".to_owned(),
            json!({"model": model, "stream": true, "messages": turns}),
        ),
        "responses" => (
            "/v1/responses".to_owned(),
            json!({"model": model, "stream": true, "input": turns, "store": false}),
        ),
        "anthropic" => (
            "/v1/messages".to_owned(),
            json!({"model": model, "stream": true, "max_tokens": 99, "messages": turns}),
        ),
        "gemini" => (
            format!("/v1beta/models/{segment}:streamGenerateContent?alt=sse"),
            json!({"contents": contents}),
        ),
        "gemini-array" => (
            format!("/v1beta/models/{segment}:streamGenerateContent"),
            json!({"contents": contents}),
        ),
        _ => (
            format!("/model/{segment}/converse-stream"),
            json!({"messages": [{"role": "user", "content": [{"text": "Hello there"}]}]}),
        ),
    };
    http::json_request(&path, &[], &body)
}

/// The four providers.
fn play(request: &Received) -> Vec<Step> {
    let path = request.path();
    let (from, model) = if let Some(rest) = path.strip_prefix("/v1beta/models/") {
        ("gemini", rest.split(':').next().unwrap().to_owned())
    } else if let Some(rest) = path.strip_prefix("/model/") {
        ("bedrock", rest.split('/').next().unwrap().replace("amazon.nova-", ""))
    } else {
        let from = if path.starts_with("/v1/messages") { "anthropic" } else { "chat" };
        (from, request.json()["model"].as_str().unwrap().to_owned())
    };
    let stream = Stream::of(from);
    let mut steps = stream.begun();
    match model.split(['@', '%']).next().unwrap() {
        "fine" => steps.extend(stream.rest().into_iter().chain([end()])),
        "open" => steps.extend(stream.rest().into_iter().chain([Step::Hang])),
        "slow" => {
            steps.extend((0..200).flat_map(|_| [Step::Pause(PACE), stream.piece(&stream.word)]));
        }
        "close" => steps.push(Step::Close),
        "reset" => steps.extend([Step::Pause(PACE), Step::Reset]),
        "stall" | "hang" => steps.push(Step::Hang),
        "clean-end" => steps.push(end()),
        "error-event" => steps.extend([stream.piece(&stream.error), end()]),
        "garbled" => steps.extend([stream.piece(&stream.garbled), end()]),
        "error-and-open" => steps.extend([stream.piece(&stream.error), Step::Hang]),
        "garbled-and-open" => steps.extend([stream.piece(&stream.garbled), Step::Hang]),
        "garbled-and-more" => {
            steps.extend([stream.piece(&stream.garbled), Step::Pause(PACE)]);
            steps.extend((0..500).flat_map(|_| [stream.piece(&stream.word), Step::Pause(PACE)]));
        }
        "error-first" => return vec![stream.head(), stream.piece(&stream.error), end()],
        "nothing" => return vec![stream.head(), end()],
        // 17 MiB.
        "endless" => {
            steps.push(stream.piece(b"data: {\"choices\":[{\"delta\":{\"content\":\""));
            steps.extend(vec![stream.piece(&b"x".repeat(1 << 20)); 17]);
            steps.push(Step::Hang);
        }
        "silent" => return vec![Step::Hang],
        other => panic!("no {other}"),
    }
    steps
}

/// A stream of one provider: its text and the events around it, an error, and an unparsable event.
struct Stream {
    content_type: &'static str,
    before: Vec<Vec<u8>>,
    word: Vec<u8>,
    second: Vec<u8>,
    behind: Vec<Vec<u8>>,
    error: Vec<u8>,
    garbled: Vec<u8>,
}

impl Stream {
    fn of(from: &str) -> Self {
        let sse = |all: Vec<String>, words: usize, error: String, garbled: &str| {
            let mut all: Vec<Vec<u8>> = all.into_iter().map(String::into_bytes).collect();
            let behind = all.split_off(words + 2);
            let (second, word) = (all.pop().unwrap(), all.pop().unwrap());
            let (error, garbled) = (error.into_bytes(), garbled.as_bytes().to_vec());
            Self {
                content_type: "text/event-stream",
                before: all,
                word,
                second,
                behind,
                error,
                garbled,
            }
        };
        let words = ["one ", "two "];
        let overloaded = |kind: &str| json!({"type": kind, "message": "Overloaded", "code": null});
        match from {
            "chat" => {
                let error = json!({"error": overloaded("server_error")});
                sse(
                    chat_events(&words),
                    0,
                    format!("data: {error}\n\n"),
                    "data: {\"choices\":[{\n\n",
                )
            }
            "anthropic" => {
                let error = json!({"type": "error", "error": overloaded("overloaded_error")});
                let garbled = "event: content_block_delta\ndata: {\"type\":\"content_bl\n\n";
                sse(message_events(&words), 2, format!("event: error\ndata: {error}\n\n"), garbled)
            }
            "gemini" => {
                let part = |text: &str, finish: Option<&str>| {
                    let content = json!({"role": "model", "parts": [{"text": text}]});
                    let candidate = json!({"index": 0, "content": content, "finishReason": finish});
                    format!("data: {}\r\n\r\n", json!({"candidates": [candidate]}))
                };
                let error = json!({"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}});
                let all = vec![part("one ", None), part("two ", Some("STOP"))];
                sse(all, 0, format!("data: {error}\r\n\r\n"), "data: {\"candidates\": [{\r\n\r\n")
            }
            _ => Self::bedrock(),
        }
    }

    fn bedrock() -> Self {
        let delta = |text: &str| json!({"contentBlockIndex": 0, "delta": {"text": text}});
        Self {
            content_type: AWS,
            before: vec![frame("messageStart", &json!({"role": "assistant"}).to_string())],
            word: frame("contentBlockDelta", &delta("one ").to_string()),
            second: frame("contentBlockDelta", &delta("two ").to_string()),
            behind: vec![
                frame("contentBlockStop", &json!({"contentBlockIndex": 0}).to_string()),
                frame("messageStop", &json!({"stopReason": "end_turn"}).to_string()),
                frame(
                    "metadata",
                    &json!({"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}})
                        .to_string(),
                ),
            ],
            error: exception("serviceUnavailableException", "Overloaded").to_vec(),
            garbled: frame("contentBlockDelta", "{\"contentBlockInd"),
        }
    }

    fn head(&self) -> Step {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {}\r\ntransfer-encoding: chunked\r\n\r\n",
            self.content_type
        );
        Step::Send(head.into_bytes())
    }

    #[expect(clippy::unused_self, reason = "reads as what it is: a piece of this stream")]
    fn piece(&self, bytes: &[u8]) -> Step {
        Step::Send(chunk(bytes))
    }

    /// The events up to the first token.
    fn begun(&self) -> Vec<Step> {
        let pieces = self.before.iter().chain([&self.word]);
        [self.head()].into_iter().chain(self.paced(pieces)).collect()
    }

    fn rest(&self) -> Vec<Step> {
        self.paced([&self.second].into_iter().chain(&self.behind)).collect()
    }

    fn paced<'a>(
        &'a self,
        pieces: impl Iterator<Item = &'a Vec<u8>>,
    ) -> impl Iterator<Item = Step> {
        pieces.flat_map(|piece| [Step::Pause(PACE), self.piece(piece)]).chain([Step::Pause(PACE)])
    }
}

fn end() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}

fn frame(kind: &str, payload: &str) -> Vec<u8> {
    let header = |name: &'static str, value: &str| {
        Header::new(name, HeaderValue::String(value.to_owned().into()))
    };
    let message = Message::new(payload.as_bytes().to_vec())
        .add_header(header(":event-type", kind))
        .add_header(header(":content-type", "application/json"))
        .add_header(header(":message-type", "event"));
    let mut out = BytesMut::new();
    write_message_to(&message, &mut out).unwrap();
    out.to_vec()
}

/// A provider of endless chats, and the number of bytes it has written.
async fn fountain() -> (String, Arc<AtomicUsize>) {
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
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                stream.write_all(head.as_bytes()).await.unwrap();
                let event = &chat_events(&[&"x".repeat(60_000)])[0];
                while stream.write_all(event.as_bytes()).await.is_ok() {
                    counter.fetch_add(event.len(), Ordering::SeqCst);
                }
            });
        }
    });
    (url, written)
}

/// Waits until full buffers stop the provider. Returns how much it had written by then.
async fn stops(written: &AtomicUsize) -> usize {
    let (start, mut last) = (Instant::now(), 0);
    loop {
        sleep(Duration::from_millis(400)).await;
        let now = written.load(Ordering::SeqCst);
        if now == last && now > 0 {
            return now;
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{now} bytes for callers that read nothing"
        );
        last = now;
    }
}

/// Returns the memory of keymux without the program's own text.
fn resident(keymux: &Keymux) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", keymux.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}
