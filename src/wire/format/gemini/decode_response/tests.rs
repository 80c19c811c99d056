#![allow(
    clippy::panic,
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "so that a test fails, and takes literals"
)]

use serde_json::json;

use super::*;
use crate::wire::failure::class::Class;
use crate::wire::ir::{Content, Response};

fn events(chunks: &[Value], ends: bool) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::new(), Vec::new());
    for chunk in chunks {
        let data = chunk.to_string();
        decoder.frame(Frame::Event { name: b"", data: data.as_bytes() }, &mut out);
    }
    if ends {
        decoder.end(&mut out);
    }
    out
}

fn parts(parts: Value, finish: Option<&str>) -> Value {
    json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": finish}]})
}

fn google(data: &str) -> Option<Signature> {
    Some(Signature { format: Format::Gemini, data: data.to_owned(), id: None })
}

#[test]
fn adjacent_texts_become_one_block_apart_from_thoughts() {
    let response = Response::fold(&events(
        &[
            parts(json!([{"text": "hm", "thought": true}]), None),
            parts(json!([{"text": "a", "thoughtSignature": "S1"}]), None),
            parts(json!([{"text": "b"}]), None),
            parts(json!([{"text": ""}]), None),
            parts(json!([{"text": "", "thoughtSignature": "S2"}]), Some("STOP")),
        ],
        true,
    ));
    let blocks = &response.candidates[0].blocks;
    assert_eq!(blocks[0].content, Content::Reasoning { text: "hm".to_owned() });
    assert_eq!((&blocks[1].content, &blocks[1].signature), (&Content::text("ab"), &google("S1")));
    assert_eq!(blocks[2].content, Content::Reasoning { text: String::new() });
    assert_eq!(blocks[2].signature, google("S2"));
    assert_eq!(response.candidates[0].stop, Some(Stop::End));
    assert!(response.ended);
}

#[test]
fn a_signature_after_a_text_belongs_to_it() {
    let response = Response::fold(&events(
        &[
            parts(json!([{"text": "a"}]), None),
            parts(json!([{"text": "", "thoughtSignature": "S"}]), Some("STOP")),
        ],
        true,
    ));
    let blocks = &response.candidates[0].blocks;
    assert_eq!((blocks.len(), &blocks[0].signature), (1, &google("S")));
}

#[test]
fn stop_after_a_call_is_a_stop_for_calls() {
    let call = json!({"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "S"});
    let response = Response::fold(&events(
        &[parts(json!([call]), None), parts(json!([{"text": ""}]), Some("STOP"))],
        true,
    ));
    let candidate = &response.candidates[0];
    assert_eq!((candidate.stop, candidate.raw.as_deref()), (Some(Stop::Calls), Some("STOP")));
    let arguments = r#"{"a":1}"#.to_owned();
    let call = Content::ToolCall { id: None, name: "f".to_owned(), arguments };
    assert_eq!(
        (&candidate.blocks[0].content, &candidate.blocks[0].signature),
        (&call, &google("S"))
    );
}

#[test]
fn only_the_last_finish_reason_ends_the_answer() {
    let chunk = |text: &str| parts(json!([{ "text": text }]), Some("STOP"));
    let all = events(&[chunk("a"), chunk("b")], true);
    assert_eq!(Response::fold(&all).candidates[0].blocks.len(), 1);
    assert_eq!(all.iter().filter(|event| matches!(event, Event::Stop { .. })).count(), 1);
    let cut = events(&[chunk("a"), parts(json!([{"text": "b"}]), None)], true);
    assert!(!cut.contains(&Event::End), "the last chunk has no finish reason");
}

#[test]
fn a_blocked_prompt_is_an_answer_stopped_by_a_filter() {
    let blocked = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 3}});
    let response = Response::fold(&events(&[blocked], true));
    assert!(response.ended);
    assert_eq!(response.candidates[0].stop, Some(Stop::Filter));
    assert_eq!(response.candidates[0].raw.as_deref(), Some("PROHIBITED_CONTENT"));
    assert_eq!(response.usage.input, Some(3));
}

#[test]
fn candidates_are_decoded_separately() {
    let chunk = json!({"candidates": [
        {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"},
        {"index": 1, "content": {"parts": [{"text": "b"}]}},
    ]});
    let cut = events(std::slice::from_ref(&chunk), true);
    assert!(!cut.contains(&Event::End));
    let rest = json!({"candidates": [{"index": 1, "finishReason": "MAX_TOKENS"}, {"finishReason": "STOP"}]});
    let response = Response::fold(&events(&[chunk, rest], true));
    assert_eq!(response.candidates[0].blocks[0].content, Content::text("a"));
    assert_eq!(response.candidates[1].stop, Some(Stop::Length));
}

#[test]
fn an_error_chunk_ends_the_answer() {
    let error = json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow"}});
    let all = events(
        &[parts(json!([{"text": "a"}]), None), error, parts(json!([{"text": "b"}]), None)],
        true,
    );
    let Some(Event::Fail(error)) = all.last() else { panic!("no failure: {all:?}") };
    assert_eq!((error.status, error.failure.class), (Some(429), Class::Throttled));
    assert_eq!(error.kind.as_deref(), Some("RESOURCE_EXHAUSTED"));
}

#[test]
fn malformed_chunks_fail_and_unknown_ones_are_ignored() {
    let mut out = Vec::new();
    Decoder::new().frame(Frame::Event { name: b"", data: b"{\"cand" }, &mut out);
    assert!(matches!(out[..], [Event::Fail(_)]));
    assert!(events(&[json!({"new": 1})], true).is_empty());
    let far = json!({"candidates": [{"index": 4_000_000_000_u32}]});
    assert!(matches!(events(&[far], true)[..], [Event::Start { .. }, Event::Fail(_)]));
    for body in ["", "x", "{}", "[]", "[1]", r#"{"new":1}"#] {
        assert!(matches!(decode_whole(body.as_bytes())[..], [Event::Fail(_)]), "{body}");
    }
}

#[test]
fn server_tool_parts_are_foreign_and_images_are_media() {
    let code = json!({"executableCode": {"language": "PYTHON", "code": "1"}});
    let image = json!({"inlineData": {"mimeType": "image/png", "data": "_-8"}});
    let response = Response::fold(&events(&[parts(json!([code, image]), Some("STOP"))], true));
    let blocks = &response.candidates[0].blocks;
    assert_eq!(blocks[0].content, Content::Foreign { format: Format::Gemini, json: code });
    let Content::Media(media) = &blocks[1].content else { panic!("no media") };
    assert!(matches!(&media.source, Source::Base64 { data, .. } if data == "/+8="));
}

#[test]
fn pieces_of_a_call_become_one_block() {
    let call = |call: Value| parts(json!([{ "functionCall": call }]), None);
    let piece =
        |text: &str| json!([{"jsonPath": "$.a", "stringValue": text, "willContinue": true}]);
    let all = events(
        &[
            call(json!({"name": "f", "willContinue": true})),
            call(json!({"partialArgs": piece("x"), "willContinue": true})),
            call(json!({"willContinue": true})),
            call(json!({"partialArgs": piece("y"), "willContinue": true})),
            call(json!({})),
            call(json!({"name": "g", "willContinue": true})),
            parts(json!([{"functionCall": {}}]), Some("STOP")),
        ],
        true,
    );
    let calls: Vec<_> = Response::fold(&all).candidates[0]
        .blocks
        .iter()
        .map(|block| match &block.content {
            Content::ToolCall { name, arguments, .. } => format!("{name}{arguments}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(calls, [r#"f{"a":"xy"}"#, "g{}"]);
}
