//! Streams that may take more than one attempt, in other formats than OpenAI's.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::{config, key, secret};
use common::http::{self, Reply};
use common::keymux::Keymux;
use common::upstream::{Step, Upstream, chunk};
use serde_json::{Value, json};

use keymux::wire::frame::aws_event_stream::exception;

const SSE: &str = "text/event-stream";
const AWS: &str = "application/vnd.amazon.eventstream";

struct Form {
    kind: &'static str,
    path: &'static str,
    content_type: &'static str,
    /// Returns a stream with these words.
    make: fn(&[&str]) -> Vec<String>,
    keep_alive: &'static str,
}

fn message(words: &[&str]) -> Vec<String> {
    let event = |kind: &str, mut value: Value| {
        value["type"] = kind.into();
        format!("event: {kind}\ndata: {value}\n\n")
    };
    let block = json!({"index": 0, "content_block": {"type": "text", "text": ""}});
    let mut all =
        vec![event("message_start", json!({"message": {}})), event("content_block_start", block)];
    let delta = |word: &&str| {
        let delta = json!({"type": "text_delta", "text": word});
        event("content_block_delta", json!({"index": 0, "delta": delta}))
    };
    all.extend(words.iter().map(delta));
    all.push(event("content_block_stop", json!({"index": 0})));
    all.push(event("message_delta", json!({"delta": {"stop_reason": "end_turn"}})));
    all.push(event("message_stop", json!({})));
    all
}

fn parts(words: &[&str]) -> Vec<Value> {
    let part = |word: &&str| json!({"candidates": [{"content": {"parts": [{"text": word}]}}]});
    let mut all: Vec<Value> = words.iter().map(part).collect();
    all.last_mut().unwrap()["candidates"][0]["finishReason"] = "STOP".into();
    all
}

fn gemini_events(words: &[&str]) -> Vec<String> {
    parts(words).iter().map(|part| format!("data: {part}\r\n\r\n")).collect()
}

fn gemini_array(words: &[&str]) -> Vec<String> {
    let elements = parts(words).into_iter().enumerate();
    let mut all: Vec<String> = elements
        .map(|(at, part)| format!("{}{part}", if at == 0 { "[" } else { ",\r\n" }))
        .collect();
    all.push("\n]".into());
    all
}

const FORMS: [Form; 3] = [
    Form {
        kind: "anthropic",
        path: "/v1/messages",
        content_type: SSE,
        make: message,
        keep_alive: ": keymux\n\n",
    },
    Form {
        kind: "gemini",
        path: "/v1beta/models/r:streamGenerateContent?alt=sse",
        content_type: SSE,
        make: gemini_events,
        keep_alive: "\n",
    },
    Form {
        kind: "gemini",
        path: "/v1beta/models/r:streamGenerateContent",
        content_type: "application/json",
        make: gemini_array,
        keep_alive: "\n",
    },
];

fn steps(content_type: &str, pieces: &[impl AsRef<[u8]>], last: Step) -> Vec<Step> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let mut steps = vec![Step::Send(head.into_bytes())];
    for piece in pieces {
        steps.extend([Step::Send(chunk(piece.as_ref())), Step::Pause(Duration::from_millis(10))]);
    }
    steps.push(last);
    steps
}

fn end() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}

/// Returns the response of a route with `rescue = "hold"` whose provider answers the first key with `a` and the next with `b`.
async fn held(kind: &str, path: &str, a: Vec<Step>, b: Vec<Step>) -> Reply {
    let is_first = move |request: &common::upstream::Received| {
        let of = |name: &str| request.header(name).unwrap_or_default().contains(&secret("a"));
        ["x-api-key", "x-goog-api-key", "authorization"].into_iter().any(of)
    };
    let upstream =
        Upstream::start(move |request| if is_first(request) { a.clone() } else { b.clone() }).await;
    let of_key = match kind {
        "bedrock" => "bedrock_key_config = { region = \"us-east-1\" }",
        _ => "",
    };
    let keys: String = ["a", "b"]
        .map(|name| {
            let weight = u8::from(name == "a");
            let key = key(name, &format!("weight = {weight}\n{of_key}"));
            format!("[[providers.main.keys]]\n{key}")
        })
        .concat();
    let url = upstream.url();
    let text = format!(
        "[providers.main]\nkind = \"{kind}\"\nbase_url = \"{url}\"\n{keys}\
         [routes.r]\ntargets = [{{ model = \"main/m\" }}]\nrescue = \"hold\"\n"
    );
    let keymux = Keymux::start(&config("", &[text]), &[]).await;
    let body = json!({"model": "r", "stream": true, "max_tokens": 9, "messages": []});
    http::post(keymux.address(), path, &[], &body).await
}

#[tokio::test]
async fn a_held_stream_is_delivered_whole_after_keep_alives_of_its_format() {
    for Form { kind, path, content_type, make, keep_alive } in FORMS {
        let whole = make(&["one ", "two ", "three"]);
        let broken = steps(content_type, &whole[..whole.len() - 2], Step::Close);
        let good = steps(content_type, &whole, end());
        let reply = held(kind, path, broken.clone(), good).await;
        assert!(reply.complete && reply.text().starts_with(keep_alive), "{path} {}", reply.text());
        assert_eq!(reply.text().replacen(keep_alive, "", 1), whole.concat(), "{path}");

        let reply = held(kind, path, broken.clone(), broken).await;
        assert!(reply.text().contains("\"error\""), "{path} {}", reply.text());
        assert!(!reply.text().contains("one "), "{path} {}", reply.text());
    }
}

#[tokio::test]
async fn aws_frames_are_held_without_keep_alives() {
    let path = "/model/r/converse-stream";
    let frame = |kind: &str, payload: &Value| {
        let message = aws_smithy_types::event_stream::Message::new(payload.to_string());
        let header = |name: &'static str, value: &str| {
            let value =
                aws_smithy_types::event_stream::HeaderValue::String(value.to_owned().into());
            aws_smithy_types::event_stream::Header::new(name, value)
        };
        let message = message
            .add_header(header(":event-type", kind))
            .add_header(header(":message-type", "event"));
        let mut bytes = bytes::BytesMut::new();
        aws_smithy_eventstream::frame::write_message_to(&message, &mut bytes).unwrap();
        bytes.to_vec()
    };
    let delta = json!({"contentBlockIndex": 0, "delta": {"text": "one"}});
    let frames = [
        frame("messageStart", &json!({"role": "assistant"})),
        frame("contentBlockDelta", &delta),
        frame("messageStop", &json!({"stopReason": "end_turn"})),
        frame("metadata", &json!({"usage": {"inputTokens": 3, "outputTokens": 1}})),
    ];
    let (broken, good) = (steps(AWS, &frames[..2], Step::Close), steps(AWS, &frames, end()));
    let reply = held("bedrock", path, broken.clone(), good).await;
    assert_eq!(reply.body, frames.concat());
    let reply = held("bedrock", path, broken.clone(), broken).await;
    let error = exception("modelStreamErrorException", "the provider's stream broke off");
    assert_eq!(reply.body, error);
}
