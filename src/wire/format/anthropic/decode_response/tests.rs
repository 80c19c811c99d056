use serde_json::{Value, json};

use super::*;
use crate::wire::api::Format;
use crate::wire::failure::Class;
use crate::wire::format::quirks::PLAIN;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::{Content, Kind, Piece, Response};

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","model":"claude-x","content":[],"usage":{"input_tokens":5,"output_tokens":1}}}"#;

fn decoded(frames: &[Value]) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::new(&PLAIN), Vec::new());
    decoder.frame(Frame::Event { name: b"", data: START.as_bytes() }, &mut out);
    for frame in frames {
        let data = frame.to_string();
        decoder.frame(Frame::Event { name: b"", data: data.as_bytes() }, &mut out);
    }
    out
}

fn start(index: u64, block: &Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u64, delta: &Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn stop(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn end(reason: &str) -> [Value; 2] {
    let delta = json!({"stop_reason": reason, "stop_sequence": null});
    [
        json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ]
}

#[test]
fn a_call_without_arguments_gets_an_empty_object() {
    let call = json!({"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}});
    let piece = json!({"type": "input_json_delta", "partial_json": ""});
    let [delta_event, stop_event] = end("tool_use");
    let events = decoded(&[start(0, &call), delta(0, &piece), stop(0), delta_event, stop_event]);
    let response = Response::fold(&events);
    let block = &response.candidates[0].blocks[0];
    let expected = Content::ToolCall {
        id: Some("toolu_1".to_owned()),
        name: "now".to_owned(),
        arguments: "{}".to_owned(),
    };
    assert_eq!(block.content, expected);
    assert_eq!(response.candidates[0].stop, Some(Stop::Calls));
    assert!(response.ended);
    let usage = Usage { input: Some(5), output: Some(9), ..Usage::default() };
    assert_eq!(response.usage, usage);
}

#[test]
fn a_server_tool_block_is_one_event() {
    let call =
        json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}});
    let piece = |json: &str| delta(0, &json!({"type": "input_json_delta", "partial_json": json}));
    let events = decoded(&[start(0, &call), piece("{\"query\":"), piece("\"q\"}"), stop(0)]);
    let whole = json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}});
    let kind = Kind::Foreign { format: Format::Anthropic, json: whole };
    assert_eq!(events[2], Event::Open { block: 0, candidate: 0, kind });
    assert_eq!(events[3], Event::Close { block: 0 });
}

#[test]
fn nothing_follows_an_error() {
    let error =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let [delta_event, stop_event] = end("end_turn");
    let events = decoded(&[error, delta_event, stop_event]);
    let Some(Event::Fail(failed)) = events.last() else { panic!("{events:?}") };
    assert_eq!(failed.failure.class, Class::Trouble);
    assert_eq!((failed.status, failed.kind.as_deref()), (Some(529), Some("overloaded_error")));
    assert_eq!(failed.message, "Overloaded");
}

#[test]
fn unknown_events_are_ignored_and_damaged_ones_fail() {
    let events = decoded(&[
        json!({"type": "content_block_weather", "index": 0}),
        start(0, &json!({"type": "text", "text": ""})),
        delta(0, &json!({"type": "mood_delta", "mood": "good"})),
        delta(7, &json!({"type": "text_delta", "text": "of no block"})),
    ]);
    assert_eq!(events.len(), 3);
    for damaged in ["{", "[]", r#"{"type":"content_block_start","index":0,"content_block":{}}"#] {
        let (mut decoder, mut out) = (Decoder::new(&PLAIN), Vec::new());
        decoder.frame(Frame::Event { name: b"", data: START.as_bytes() }, &mut out);
        decoder.frame(Frame::Event { name: b"", data: damaged.as_bytes() }, &mut out);
        assert!(matches!(out.last(), Some(Event::Fail(_))), "{damaged}");
    }
}

#[test]
fn the_number_of_blocks_is_bounded() {
    let many: Vec<Value> = (0..10_000)
        .flat_map(|index| [start(index, &json!({"type": "text", "text": "x"})), stop(index)])
        .collect();
    assert!(matches!(decoded(&many).last(), Some(Event::Fail(_))));
}

#[test]
fn a_whole_answer_is_decoded_like_a_stream() {
    let body = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "S"},
            {"type": "redacted_thinking", "data": "D"},
            {"type": "text", "text": "hi", "citations": null},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 1, "cache_read_input_tokens": 4, "output_tokens": 2, "service_tier": "standard"},
    });
    let events = decode_whole(body.to_string().as_bytes(), &PLAIN);
    let response = Response::fold(&events);
    assert_eq!(response.candidates[0].blocks.len(), 4);
    assert_eq!((response.usage.input, response.usage.cached_input), (Some(5), Some(4)));
    assert_eq!(response.tier.as_deref(), Some("standard"));
    let is_signature =
        |event: &&Event| matches!(event, Event::Delta { piece: Piece::Signature(_), .. });
    assert_eq!(events.iter().filter(is_signature).count(), 2);
    assert_eq!(events.last(), Some(&Event::End));
}

#[test]
fn a_body_that_is_not_an_answer_fails() {
    for body in ["", "{}", r#"{"error":"overloaded"}"#, "<html>"] {
        let events = decode_whole(body.as_bytes(), &PLAIN);
        assert!(matches!(&events[..], [Event::Fail(_)]), "{body}");
    }
}
