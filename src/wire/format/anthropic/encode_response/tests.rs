use serde_json::{Value, json};

use super::*;
use crate::wire::api::{Format, Framing};
use crate::wire::failure::Class;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::{Block, Candidate, Content, Response, Signature};

fn context() -> ResponseContext {
    ResponseContext {
        id: "r1".to_owned(),
        created: 0,
        model: "asked".to_owned(),
        usage: true,
        framing: Framing::Events,
        echo: None,
    }
}

/// The data of the events that are written.
fn written(events: &[Event]) -> Vec<Value> {
    let mut encoder = Encoder::new(context());
    let mut out = Vec::new();
    for event in events {
        encoder.event(event, &mut out);
    }
    let text = String::from_utf8(out).unwrap();
    let each = text.split_terminator("\n\n").map(|event| {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        data
    });
    each.collect()
}

/// Types and indices, in short.
fn outline(events: &[Event]) -> Vec<String> {
    let short = |event: &Value| {
        let kind = event["type"].as_str().unwrap().replace("content_block_", "");
        let what = event["content_block"]["type"].as_str().or(event["delta"]["type"].as_str());
        format!("{kind} {} {}", event["index"], what.unwrap_or_default()).trim_end().to_owned()
    };
    written(events).iter().map(short).collect()
}

fn open(block: u32, kind: Kind) -> Event {
    Event::Open { block, candidate: 0, kind }
}

fn text(block: u32, text: &str) -> Event {
    Event::Delta { block, piece: Piece::Text(text.to_owned()) }
}

fn call(id: Option<&str>, name: &str) -> Kind {
    Kind::ToolCall { id: id.map(str::to_owned), name: name.to_owned() }
}

fn stop(why: Stop) -> Event {
    Event::Stop { candidate: 0, why, raw: None, sequence: None }
}

#[test]
fn parallel_calls_are_written_one_after_the_other() {
    let events = [
        open(0, call(Some("a"), "f")),
        open(1, call(None, "g")),
        text(1, "{\"x\""),
        text(0, "{}"),
        text(1, ":1}"),
        Event::Close { block: 0 },
        Event::Close { block: 1 },
    ];
    let outlined = outline(&events);
    let expected = [
        "start 0 tool_use",
        "delta 0 input_json_delta",
        "stop 0",
        "start 1 tool_use",
        "delta 1 input_json_delta",
        "stop 1",
    ];
    assert_eq!(outlined, expected);
    let data = written(&events);
    assert_eq!(data[3]["content_block"]["id"], "call_r1_1");
    assert_eq!(data[4]["delta"]["partial_json"], "{\"x\":1}");
}

#[test]
fn text_beside_other_blocks_is_never_delayed() {
    let outlined = outline(&[
        open(0, Kind::Reasoning),
        text(0, "hm"),
        open(1, Kind::Text),
        text(1, "a"),
        text(0, "hm again"),
        Event::Close { block: 0 },
        text(1, "b"),
        Event::Close { block: 1 },
    ]);
    let expected = [
        "start 0 thinking",
        "delta 0 thinking_delta",
        "stop 0",
        "start 1 text",
        "delta 1 text_delta",
        "stop 1",
        "start 2 thinking",
        "delta 2 thinking_delta",
        "stop 2",
        "start 3 text",
        "delta 3 text_delta",
        "stop 3",
    ];
    assert_eq!(outlined, expected);
}

#[test]
fn the_end_has_reason_and_usage_and_needs_the_providers_end() {
    let usage = Usage {
        input: Some(100),
        cached_input: Some(60),
        cache_write: Some(30),
        output: Some(7),
        reasoning: Some(3),
    };
    let start = Event::Start { id: None, model: None, created: None };
    let events = [start, stop(Stop::Length), Event::Usage(usage)];
    assert_eq!(outline(&events), ["message_start null"]);
    let data = written(&[&events[..], &[Event::End]].concat());
    assert_eq!(data[0]["message"]["id"], "msg_r1");
    assert_eq!(data[0]["message"]["model"], "asked");
    assert_eq!(data[0]["message"]["usage"]["input_tokens"], 0);
    assert_eq!(data[1]["delta"]["stop_reason"], "max_tokens");
    let usage = &data[1]["usage"];
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&10.into(), &7.into()));
    assert_eq!(usage["cache_read_input_tokens"], 60);
    assert_eq!(usage["cache_creation_input_tokens"], 30);
    assert_eq!(usage["output_tokens_details"]["thinking_tokens"], 3);
    assert_eq!(data[2]["type"], "message_stop");
}

#[test]
fn calls_and_refusals_decide_the_stop_reason() {
    let events = [open(0, call(None, "f")), Event::Close { block: 0 }, stop(Stop::End), Event::End];
    assert_eq!(written(&events)[2]["delta"]["stop_reason"], "tool_use");
    let events = [
        open(0, Kind::Refusal),
        text(0, "no"),
        Event::Close { block: 0 },
        stop(Stop::End),
        Event::End,
    ];
    assert_eq!(written(&events)[3]["delta"]["stop_reason"], "refusal");
}

#[test]
fn signatures_of_calls_follow_as_empty_thinking() {
    let signature = |format, data: &str| {
        Piece::Signature(Signature { format, data: data.to_owned(), id: None })
    };
    let events = [
        open(0, call(Some("a"), "f")),
        Event::Delta { block: 0, piece: signature(Format::Gemini, "G") },
        Event::Close { block: 0 },
        open(1, Kind::Reasoning),
        Event::Delta { block: 1, piece: signature(Format::Anthropic, "redacted:R") },
        Event::Close { block: 1 },
        open(2, Kind::Reasoning),
        Event::Close { block: 2 },
    ];
    let data = written(&events);
    assert_eq!(data[3]["delta"]["signature"], "gemini^:G");
    assert_eq!(data[5]["content_block"]["type"], "redacted_thinking");
    assert_eq!(data[5]["content_block"]["data"], "R");
    assert_eq!(data.len(), 7, "reasoning without text or signature is left out");
}

#[test]
fn unsupported_blocks_are_left_out() {
    let foreign = Kind::Foreign { format: Format::Gemini, json: Value::Null };
    let outlined = outline(&[
        open(0, foreign),
        open(1, Kind::Text),
        text(1, "a"),
        Event::Close { block: 1 },
        Event::Close { block: 0 },
        Event::Open { block: 2, candidate: 1, kind: Kind::Text },
        text(2, "b"),
        Event::Close { block: 2 },
    ]);
    assert_eq!(outlined, ["start 0 text", "delta 0 text_delta", "stop 0"]);
}

#[test]
fn nothing_follows_a_failure() {
    let mut error = ProviderError::malformed("slow down");
    error.failure.class = Class::Throttled;
    let data = written(&[Event::Ping, Event::Fail(error), stop(Stop::End), Event::End]);
    assert_eq!(data.len(), 2);
    assert_eq!(data[1]["error"]["type"], "rate_limit_error");
}

fn call_block(id: Option<&str>, arguments: &str) -> Block {
    let (id, name) = (id.map(str::to_owned), "f".to_owned());
    Block::new(Content::ToolCall { id, name, arguments: arguments.to_owned() }, "")
}

#[test]
fn a_whole_answer_has_all_required_members() {
    let mut signed = call_block(None, "{\"a\": 1}");
    signed.signature = Some(Signature { format: Format::Gemini, data: "G".to_owned(), id: None });
    let blocks = vec![
        Block::new(Content::text("hi"), ""),
        signed,
        call_block(None, ""),
        call_block(Some("functions.f:0"), "null"),
    ];
    let response = Response {
        candidates: vec![Candidate { blocks, stop: Some(Stop::End), ..Candidate::default() }],
        usage: Usage {
            input: Some(10),
            cached_input: Some(4),
            output: Some(2),
            ..Usage::default()
        },
        tier: Some("default".to_owned()),
        ended: true,
        ..Response::default()
    };
    let body: Value = serde_json::from_slice(&encode_whole(&response, &context())).unwrap();
    let expected = json!({
        "id": "msg_r1", "type": "message", "role": "assistant", "model": "asked",
        "content": [
            {"type": "text", "text": "hi"},
            {"type": "tool_use", "id": "call_r1_0", "name": "f", "input": {"a": 1}},
            {"type": "thinking", "thinking": "", "signature": "gemini^:G"},
            {"type": "tool_use", "id": "call_r1_1", "name": "f", "input": {}},
            {"type": "tool_use", "id": "functions_2ef_3a0", "name": "f", "input": {}},
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {
            "input_tokens": 6, "cache_creation_input_tokens": null, "cache_read_input_tokens": 4,
            "output_tokens": 2, "service_tier": "standard",
        },
    });
    assert_eq!(body, expected);
}

#[test]
fn a_failed_answer_becomes_an_error_body() {
    let body = br#"{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}"#;
    let quirks = &crate::wire::format::quirks::PLAIN;
    let events = crate::wire::format::anthropic::decode_whole(body, quirks);
    assert_eq!(encode_whole(&Response::fold(&events), &context()), body);
}
