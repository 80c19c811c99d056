#![allow(
    clippy::panic,
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "so a test fails, and reads like what it says"
)]

use serde_json::json;

use super::*;
use crate::wire::format::quirks::PLAIN;
use crate::wire::ir::{Content as Said, Response};

fn events(chunks: &[Value], ends: bool) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::new(&PLAIN), Vec::new());
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
fn text_in_a_row_is_one_block_and_thoughts_are_others() {
    let reply = Response::fold(&events(
        &[
            parts(json!([{"text": "hm", "thought": true}]), None),
            parts(json!([{"text": "a", "thoughtSignature": "S1"}]), None),
            parts(json!([{"text": "b"}]), None),
            parts(json!([{"text": ""}]), None),
            parts(json!([{"text": "", "thoughtSignature": "S2"}]), Some("STOP")),
        ],
        true,
    ));
    let blocks = &reply.candidates[0].blocks;
    assert_eq!(blocks[0].content, Said::Reasoning { text: "hm".to_owned() });
    assert_eq!((&blocks[1].content, &blocks[1].signature), (&Said::text("ab"), &google("S1")));
    assert_eq!(blocks[2].content, Said::Reasoning { text: String::new() });
    assert_eq!(blocks[2].signature, google("S2"));
    assert_eq!(reply.candidates[0].stop, Some(Stop::End));
    assert!(reply.ended);
}

#[test]
fn a_signature_behind_a_text_is_its_own() {
    let reply = Response::fold(&events(
        &[
            parts(json!([{"text": "a"}]), None),
            parts(json!([{"text": "", "thoughtSignature": "S"}]), Some("STOP")),
        ],
        true,
    ));
    let blocks = &reply.candidates[0].blocks;
    assert_eq!((blocks.len(), &blocks[0].signature), (1, &google("S")));
}

#[test]
fn calls_change_what_stop_means() {
    let call = json!({"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "S"});
    let reply = Response::fold(&events(
        &[parts(json!([call]), None), parts(json!([{"text": ""}]), Some("STOP"))],
        true,
    ));
    let candidate = &reply.candidates[0];
    assert_eq!((candidate.stop, candidate.raw.as_deref()), (Some(Stop::Calls), Some("STOP")));
    let arguments = r#"{"a":1}"#.to_owned();
    let call = Said::ToolCall { id: None, name: "f".to_owned(), arguments };
    assert_eq!(
        (&candidate.blocks[0].content, &candidate.blocks[0].signature),
        (&call, &google("S"))
    );
}

#[test]
fn a_finish_reason_in_every_chunk_ends_with_the_last() {
    let chunk = |text: &str| parts(json!([{ "text": text }]), Some("STOP"));
    let all = events(&[chunk("a"), chunk("b")], true);
    assert_eq!(Response::fold(&all).candidates[0].blocks.len(), 1);
    assert_eq!(all.iter().filter(|event| matches!(event, Event::Stop { .. })).count(), 1);
    let cut = events(&[chunk("a"), parts(json!([{"text": "b"}]), None)], true);
    assert!(!cut.contains(&Event::End), "the last chunk did not say that it is the last");
}

#[test]
fn a_blocked_prompt_is_an_answer() {
    let blocked = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 3}});
    let reply = Response::fold(&events(&[blocked], true));
    assert!(reply.ended);
    assert_eq!(reply.candidates[0].stop, Some(Stop::Filter));
    assert_eq!(reply.candidates[0].raw.as_deref(), Some("PROHIBITED_CONTENT"));
    assert_eq!(reply.usage.input, Some(3));
}

#[test]
fn several_candidates_keep_apart() {
    let chunk = json!({"candidates": [
        {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"},
        {"index": 1, "content": {"parts": [{"text": "b"}]}},
    ]});
    let cut = events(std::slice::from_ref(&chunk), true);
    assert!(!cut.contains(&Event::End));
    let rest = json!({"candidates": [{"index": 1, "finishReason": "MAX_TOKENS"}, {"finishReason": "STOP"}]});
    let reply = Response::fold(&events(&[chunk, rest], true));
    assert_eq!(reply.candidates[0].blocks[0].content, Said::text("a"));
    assert_eq!(reply.candidates[1].stop, Some(Stop::Length));
}

#[test]
fn an_error_within_ends_the_answer() {
    let error = json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow"}});
    let all = events(
        &[parts(json!([{"text": "a"}]), None), error, parts(json!([{"text": "b"}]), None)],
        true,
    );
    let Some(Event::Fail(told)) = all.last() else { panic!("no failure: {all:?}") };
    assert_eq!((told.status, told.failure.class), (Some(429), Class::Throttled));
    assert_eq!(told.kind.as_deref(), Some("RESOURCE_EXHAUSTED"));
}

#[test]
fn what_cannot_be_read_fails_and_what_is_unknown_does_not() {
    let mut out = Vec::new();
    Decoder::new(&PLAIN).frame(Frame::Event { name: b"", data: b"{\"cand" }, &mut out);
    assert!(matches!(out[..], [Event::Fail(_)]));
    assert!(events(&[json!({"new": 1})], true).is_empty());
    let far = json!({"candidates": [{"index": 4_000_000_000_u32}]});
    assert!(matches!(events(&[far], true)[..], [Event::Start { .. }, Event::Fail(_)]));
    for body in ["", "x", "{}", "[]", "[1]", r#"{"new":1}"#] {
        assert!(matches!(decode_whole(body.as_bytes(), &PLAIN)[..], [Event::Fail(_)]), "{body}");
    }
}

#[test]
fn what_google_ran_is_foreign_and_images_are_media() {
    let code = json!({"executableCode": {"language": "PYTHON", "code": "1"}});
    let image = json!({"inlineData": {"mimeType": "image/png", "data": "_-8"}});
    let reply = Response::fold(&events(&[parts(json!([code, image]), Some("STOP"))], true));
    let blocks = &reply.candidates[0].blocks;
    assert_eq!(blocks[0].content, Said::Foreign { format: Format::Gemini, json: code });
    let Said::Media(media) = &blocks[1].content else { panic!("no media") };
    assert!(matches!(&media.source, Source::Base64 { data, .. } if data == "/+8="));
}

#[test]
fn calls_in_pieces_are_one() {
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
            Said::ToolCall { name, arguments, .. } => format!("{name}{arguments}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(calls, [r#"f{"a":"xy"}"#, "g{}"]);
}
