//! Streams in other formats than OpenAI's: the same bytes, and a cut never looks
//! complete.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::time::Duration;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::BytesMut;
use common::config::{config, key};
use common::http::{self, Reply};
use common::keymux::Keymux;
use common::upstream::{Step, Upstream, answer, chunk};
use serde_json::{Value, json};
use tokio::time::Instant;

use keymux::wire::frame::aws_event_stream::{Frame, Frames, exception};

const PACE: Duration = Duration::from_millis(20);
const MESSAGES: &str = "/v1/messages";
const GEMINI_EVENTS: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
const GEMINI_ARRAY: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
const COHERE: &str = "/v2/chat";
const BEDROCK: &str = "/model/us.amazon.nova-micro-v1:0/converse-stream";
const AWS: &str = "application/vnd.amazon.eventstream";

/// Starts keymux with one provider of this kind, with the keys `a` and so on.
async fn keymux(kind: &str, upstream: &Upstream, settings: &str, keys: &[&str]) -> Keymux {
    let of_key = match kind {
        "bedrock" => "bedrock_key_config = { region = \"us-east-1\" }",
        _ => "",
    };
    let keys: String = keys
        .iter()
        .flat_map(|name| ["[[providers.main.keys]]\n".into(), key(name, of_key)])
        .collect();
    let url = upstream.url();
    let provider =
        format!("[providers.main]\nkind = \"{kind}\"\nbase_url = \"{url}\"\n{settings}\n{keys}");
    Keymux::start(&config("", &[provider]), &[]).await
}

async fn ask(keymux: &Keymux, path: &str) -> Reply {
    let body = json!({"model": "m", "stream": true, "max_tokens": 9, "messages": []});
    http::post(keymux.address(), path, &[], &body).await
}

/// Returns the response for this response of the provider.
async fn streamed(kind: &str, path: &str, steps: Vec<Step>) -> Reply {
    let upstream = Upstream::always(steps).await;
    ask(&keymux(kind, &upstream, "", &["only"]).await, path).await
}

/// A chunked response in these pieces, each by itself, and then this step.
fn steps(content_type: &str, pieces: &[impl AsRef<[u8]>], last: Step) -> Vec<Step> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let mut steps = vec![Step::Send(head.into_bytes())];
    for piece in pieces {
        steps.extend([Step::Send(chunk(piece.as_ref())), Step::Pause(PACE)]);
    }
    steps.push(last);
    steps
}

fn end() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}

fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// The events of a one-word message.
fn message() -> Vec<String> {
    let usage = json!({"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 1});
    let start = json!({"type": "message_start", "message": {"role": "assistant", "usage": usage}});
    let block =
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text"}});
    let word = json!({"type": "content_block_delta", "index": 0, "delta": {"text": "\u{1f600}"}});
    let delta = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}});
    vec![
        event("message_start", &start),
        event("ping", &json!({"type": "ping"})),
        event("content_block_start", &block),
        event("content_block_delta", &word),
        event("content_block_stop", &json!({"type": "content_block_stop", "index": 0})),
        event("message_delta", &delta),
        event("message_stop", &json!({"type": "message_stop"})),
    ]
}

fn gemini_part(text: &str, finish: Option<&str>) -> String {
    let mut candidate =
        json!({"content": {"parts": [{"text": text}], "role": "model"}, "index": 0});
    if let Some(reason) = finish {
        candidate["finishReason"] = reason.into();
    }
    json!({"candidates": [candidate], "usageMetadata": {"promptTokenCount": 3}}).to_string()
}

fn gemini_events() -> Vec<String> {
    [gemini_part("one", None), gemini_part("two", Some("STOP"))]
        .map(|part| format!("data: {part}\r\n\r\n"))
        .into()
}

fn gemini_array() -> Vec<String> {
    vec![
        format!("[{}", gemini_part("one", None)),
        format!("\r\n,\r\n{}", gemini_part("two", Some("STOP"))),
        "\r\n]\r\n".to_owned(),
    ]
}

fn cohere_events() -> Vec<String> {
    let usage = json!({"tokens": {"input_tokens": 3, "output_tokens": 1}});
    vec![
        event("message-start", &json!({"type": "message-start", "delta": {"message": {}}})),
        event("content-delta", &json!({"type": "content-delta", "index": 0, "delta": {}})),
        event(
            "message-end",
            &json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}}),
        ),
        "data: [DONE]\n\n".to_owned(),
    ]
}

/// Kind of provider, path, content type and pieces of a whole stream.
fn whole_streams() -> [(&'static str, &'static str, &'static str, Vec<String>); 4] {
    [
        ("anthropic", MESSAGES, "text/event-stream; charset=utf-8", message()),
        ("gemini", GEMINI_EVENTS, "text/event-stream", gemini_events()),
        ("gemini", GEMINI_ARRAY, "application/json; charset=UTF-8", gemini_array()),
        ("cohere", COHERE, "text/event-stream", cohere_events()),
    ]
}

/// Returns the data of the last event.
fn last_data(reply: &Reply) -> Value {
    serde_json::from_str(http::sse_data(&reply.body).last().unwrap()).unwrap()
}

#[tokio::test]
async fn bytes_are_the_same_in_any_chunking() {
    for (kind, path, content_type, pieces) in whole_streams() {
        let text = pieces.concat();
        for size in [64, 100_000] {
            let parts: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let reply = streamed(kind, path, steps(content_type, &parts, end())).await;
            assert_eq!(reply.text(), text, "{path} in pieces of {size}");
            assert!(reply.complete, "{path}");
            assert_eq!(reply.header("content-type"), Some(content_type));
        }
    }
}

#[tokio::test]
async fn a_cut_message_ends_with_an_error_event() {
    let events = message();
    for last in [end(), Step::Close, Step::Reset] {
        let reply =
            streamed("anthropic", MESSAGES, steps("text/event-stream", &events[..4], last)).await;
        let passed = events[..4].concat();
        assert!(reply.text().starts_with(&passed), "{}", reply.text());
        assert!(
            reply.text()[passed.len()..].starts_with("event: error\ndata: "),
            "{}",
            reply.text()
        );
        assert!(reply.complete && reply.body.ends_with(b"\n\n"));
        let error = last_data(&reply);
        assert_eq!(
            (&error["type"], &error["error"]["type"]),
            (&json!("error"), &json!("api_error"))
        );
    }
}

#[tokio::test]
async fn a_partial_event_is_closed_before_the_error() {
    let mut events = message();
    events.truncate(4);
    let half = events[3].len() - 20;
    events[3].truncate(half);
    let reply =
        streamed("anthropic", MESSAGES, steps("text/event-stream", &events, Step::Close)).await;
    let passed = format!("{}\n\nevent: error\n", events.concat());
    assert!(reply.text().starts_with(&passed), "{}", reply.text());
}

#[tokio::test]
async fn a_cut_gemini_stream_ends_with_an_error_that_clients_parse() {
    let part = &gemini_events()[..1];
    for last in [end(), Step::Close] {
        let reply = streamed("gemini", GEMINI_EVENTS, steps("text/event-stream", part, last)).await;
        assert!(reply.complete && reply.text().starts_with(&part[0]), "{}", reply.text());
        let data = http::sse_data(&reply.body);
        // The Python client searches for this prefix.
        assert!(data.last().unwrap().starts_with("{\"error\":{\"code\":503"), "{data:?}");
    }
}

#[tokio::test]
async fn a_cut_array_ends_with_an_error_element_or_is_truncated() {
    let json = "application/json; charset=UTF-8";
    let pieces = gemini_array();
    for kept in [pieces[0].clone(), format!("{}\r\n,\r\n", pieces[0])] {
        let reply = streamed("gemini", GEMINI_ARRAY, steps(json, &[kept], end())).await;
        let elements: Vec<Value> = serde_json::from_slice(&reply.body).unwrap();
        assert!(reply.complete && elements.len() == 2, "{}", reply.text());
        assert_eq!(elements[1]["error"]["status"], "UNAVAILABLE");
    }
    let half = format!("{}\r\n,\r\n{{\"candidates\":[{{", pieces[0]);
    let reply =
        streamed("gemini", GEMINI_ARRAY, steps(json, std::slice::from_ref(&half), end())).await;
    assert!(!reply.complete, "{}", reply.text());
    assert_eq!(reply.text(), half);
}

#[tokio::test]
async fn a_cut_cohere_stream_gets_an_error_event_and_is_truncated() {
    let events = cohere_events();
    let reply = streamed("cohere", COHERE, steps("text/event-stream", &events[..2], end())).await;
    let end = last_data(&reply);
    assert_eq!(end["delta"]["finish_reason"], "ERROR", "{}", reply.text());
    assert!(!reply.complete);
}

#[tokio::test]
async fn a_stalled_message_is_ended_and_its_provider_closed() {
    let upstream = Upstream::always(steps("text/event-stream", &message()[..4], Step::Hang)).await;
    let settings = "timeouts = { idle = \"200ms\" }";
    let keymux = keymux("anthropic", &upstream, settings, &["only"]).await;
    let start = Instant::now();
    let reply = ask(&keymux, MESSAGES).await;
    assert_eq!(last_data(&reply)["error"]["type"], "api_error");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    upstream.left(0).await;
}

#[tokio::test]
async fn a_message_that_stays_open_after_its_end_is_closed() {
    let start = Instant::now();
    let reply =
        streamed("anthropic", MESSAGES, steps("text/event-stream", &message(), Step::Hang)).await;
    assert_eq!(reply.text(), message().concat());
    assert!(reply.complete && start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

fn overloaded() -> String {
    event(
        "error",
        &json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    )
}

fn exhausted() -> Value {
    json!({"error": {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED"}})
}

#[tokio::test]
async fn before_the_first_token_another_key_is_tried() {
    let sse = "text/event-stream";
    let opened = message()[..2].to_vec();
    let failures = [
        ("anthropic", MESSAGES, steps(sse, &[opened.clone(), vec![overloaded()]].concat(), end())),
        ("anthropic", MESSAGES, steps(sse, &opened, end())),
        ("anthropic", MESSAGES, steps(sse, &opened, Step::Reset)),
        ("gemini", GEMINI_EVENTS, steps(sse, &[format!("data: {}\r\n\r\n", exhausted())], end())),
        (
            "gemini",
            GEMINI_ARRAY,
            steps("application/json", &[format!("[{}\n]", exhausted())], end()),
        ),
        ("gemini", GEMINI_ARRAY, steps("application/json", &["["], end())),
        ("gemini", GEMINI_EVENTS, answer(500, &[("content-type", sse)], b"data: {}\n\n")),
        ("cohere", COHERE, steps(sse, &cohere_events()[..1], Step::Close)),
    ];
    for (kind, path, failure) in failures {
        let mut whole = whole_streams().into_iter();
        let (.., content_type, pieces) = whole.find(|(_, own, ..)| *own == path).unwrap();
        let (good, bad) = (steps(content_type, &pieces, end()), failure.clone());
        let upstream =
            Upstream::start(move |r| if r.number == 0 { bad.clone() } else { good.clone() }).await;
        let reply = ask(&keymux(kind, &upstream, "", &["a", "b"]).await, path).await;
        assert_eq!(reply.text(), pieces.concat(), "{failure:?}");
        assert_eq!(reply.header("x-keymux-attempts"), Some("2"));
    }
}

#[tokio::test]
async fn an_error_before_the_first_token_becomes_an_error_status_with_the_providers_body() {
    let opened = [message()[..2].to_vec(), vec![overloaded()]].concat();
    let reply = streamed("anthropic", MESSAGES, steps("text/event-stream", &opened, end())).await;
    assert_eq!((reply.status(), reply.header("content-type")), (502, Some("application/json")));
    assert_eq!(reply.json()["error"]["type"], "overloaded_error");

    let array = [format!("[{}\n]", exhausted())];
    let reply = streamed("gemini", GEMINI_ARRAY, steps("application/json", &array, end())).await;
    assert_eq!((reply.status(), reply.json()), (429, exhausted()));

    let failed =
        json!({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "no GPU"}});
    let events = [cohere_events()[0].clone(), event("message-end", &failed)];
    let reply = streamed("cohere", COHERE, steps("text/event-stream", &events, end())).await;
    assert_eq!((reply.status(), reply.json()), (502, json!({"message": "no GPU"})));
}

#[tokio::test]
async fn an_error_within_the_stream_is_forwarded_alone() {
    let events = [message()[..4].to_vec(), vec![overloaded()]].concat();
    for last in [end(), Step::Close] {
        let reply =
            streamed("anthropic", MESSAGES, steps("text/event-stream", &events, last)).await;
        assert_eq!(reply.text(), events.concat());
        assert!(reply.complete);
    }
}

/// The messages of a one-word conversation.
fn conversation() -> Vec<Vec<u8>> {
    let message = |kind: &'static str, payload: Value| {
        let header = |name: &'static str, value: &'static str| {
            Header::new(name, HeaderValue::String(value.into()))
        };
        let message = Message::new(payload.to_string())
            .add_header(header(":event-type", kind))
            .add_header(header(":content-type", "application/json"))
            .add_header(header(":message-type", "event"));
        let mut bytes = BytesMut::new();
        write_message_to(&message, &mut bytes).unwrap();
        bytes.to_vec()
    };
    let usage = json!({"inputTokens": 3, "outputTokens": 1, "totalTokens": 4});
    vec![
        message("messageStart", json!({"role": "assistant"})),
        message("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "one"}})),
        message("messageStop", json!({"stopReason": "end_turn"})),
        message("metadata", json!({"usage": usage})),
    ]
}

/// Kinds of the messages, exceptions in capitals.
fn kinds(body: &[u8]) -> Vec<String> {
    let mut kinds = Vec::new();
    Frames::new(1 << 20).push(body, |frame| match frame {
        Frame::Event { kind, .. } => kinds.push(kind.to_owned()),
        Frame::Exception { kind, .. } => kinds.push(kind.to_uppercase()),
        other => kinds.push(format!("{other:?}")),
    });
    kinds
}

#[tokio::test]
async fn a_bedrock_stream_is_forwarded_and_a_cut_is_an_exception() {
    let messages = conversation();
    let reply = streamed("bedrock", BEDROCK, steps(AWS, &messages, end())).await;
    assert!(reply.complete && reply.body == messages.concat(), "{}", reply.text());

    for last in [end(), Step::Reset] {
        let reply = streamed("bedrock", BEDROCK, steps(AWS, &messages[..2], last)).await;
        assert!(reply.complete);
        let expected = ["messageStart", "contentBlockDelta", "MODELSTREAMERROREXCEPTION"];
        assert_eq!(kinds(&reply.body), expected);
    }

    let half = [&messages[0], &messages[1], &messages[2][..20]].concat();
    let reply = streamed("bedrock", BEDROCK, steps(AWS, std::slice::from_ref(&half), end())).await;
    assert!(!reply.complete && reply.body == half, "half a message cannot be ended");
}

#[tokio::test]
async fn an_exception_before_the_first_token_is_an_error_that_sdks_parse() {
    let messages = conversation();
    let throttled = exception("throttlingException", "Too many requests").to_vec();
    let bad = steps(AWS, &[messages[0].clone(), throttled], end());
    let reply = streamed("bedrock", BEDROCK, bad.clone()).await;
    assert_eq!((reply.status(), reply.json()), (429, json!({"message": "Too many requests"})));
    assert_eq!(reply.header("x-amzn-errortype"), Some("ThrottlingException"));

    let good = steps(AWS, &messages, end());
    let upstream =
        Upstream::start(move |r| if r.number == 0 { bad.clone() } else { good.clone() }).await;
    let reply = ask(&keymux("bedrock", &upstream, "", &["a", "b"]).await, BEDROCK).await;
    assert_eq!(reply.body, messages.concat());
    assert_eq!(reply.header("x-keymux-attempts"), Some("2"));
}
