use serde_json::json;

use super::*;
use crate::wire::api::Framing;
use crate::wire::ir::{Candidate, Signature};

fn shown() -> ResponseContext {
    ResponseContext {
        id: "r1".to_owned(),
        created: 0,
        model: "asked".to_owned(),
        usage: true,
        framing: Framing::Whole,
        echo: None,
    }
}

fn call(arguments: &str) -> Block {
    let content =
        Content::ToolCall { id: None, name: "f".to_owned(), arguments: arguments.to_owned() };
    Block::new(content, "")
}

#[test]
fn a_whole_answer_has_all_that_the_format_wants() {
    let mut sealed = call("{\"a\": 1}");
    sealed.signature = Some(Signature { format: Format::Gemini, data: "G".to_owned(), id: None });
    let blocks = vec![Block::new(Content::text("hi"), ""), sealed, call("")];
    let reply = Response {
        candidates: vec![Candidate { blocks, stop: Some(Stop::End), ..Candidate::default() }],
        usage: Usage {
            input: Some(10),
            cached_input: Some(4),
            output: Some(2),
            ..Usage::default()
        },
        tier: Some("default".to_owned()),
        ..Response::default()
    };
    let told: Value = serde_json::from_slice(&encode_whole(&reply, &shown())).unwrap();
    let expected = json!({
        "id": "msg_r1", "type": "message", "role": "assistant", "model": "asked",
        "content": [
            {"type": "text", "text": "hi"},
            {"type": "tool_use", "id": "call_r1_0", "name": "f", "input": {"a": 1}},
            {"type": "thinking", "thinking": "", "signature": "gemini^:G"},
            {"type": "tool_use", "id": "call_r1_1", "name": "f", "input": {}},
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {
            "input_tokens": 6, "cache_creation_input_tokens": null, "cache_read_input_tokens": 4,
            "output_tokens": 2, "service_tier": "standard",
        },
    });
    assert_eq!(told, expected);
}

#[test]
fn a_failure_is_an_error_body() {
    let events = crate::wire::format::anthropic::decode_whole(
        br#"{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}"#,
        &crate::wire::format::quirks::PLAIN,
    );
    let told: Value =
        serde_json::from_slice(&encode_whole(&Response::fold(&events), &shown())).unwrap();
    assert_eq!(
        told,
        json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}})
    );
}
