#![allow(
    clippy::panic,
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "so that a test fails, and takes literals"
)]

use serde_json::{Value, json};

use super::*;
use crate::wire::api::Format;
use crate::wire::ir::{Kind, Signature};

fn context(framing: Framing) -> ResponseContext {
    ResponseContext {
        id: "ours".to_owned(),
        created: 1,
        model: "alias".to_owned(),
        usage: true,
        framing,
        echo: None,
    }
}

fn stream(events: &[Event], framing: Framing) -> String {
    let (mut encoder, mut out) = (Encoder::new(context(framing)), Vec::new());
    for event in events {
        encoder.event(event, &mut out);
    }
    String::from_utf8(out).unwrap()
}

fn chunks(events: &[Event]) -> Vec<Value> {
    let text = stream(events, Framing::Events);
    let events = text.strip_suffix("\n\n").unwrap().split("\n\n");
    events
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect()
}

fn start() -> Event {
    Event::Start { id: Some("theirs".to_owned()), model: Some("model-1".to_owned()), created: None }
}

fn failure() -> ProviderError {
    ProviderError::malformed("It broke.")
}

fn open(block: u32, kind: Kind) -> Event {
    Event::Open { block, candidate: 0, kind }
}

fn text(block: u32, text: &str) -> Event {
    Event::Delta { block, piece: Piece::Text(text.to_owned()) }
}

fn stop(why: Stop) -> Event {
    Event::Stop { candidate: 0, why, raw: None, sequence: None }
}

fn a_call(arguments: &str, why: Stop) -> Vec<Event> {
    let kind = Kind::ToolCall { id: Some("c1".to_owned()), name: "f".to_owned() };
    let (half, rest) = arguments.split_at(arguments.len() / 2);
    vec![
        start(),
        open(0, kind),
        text(0, half),
        text(0, rest),
        Event::Close { block: 0 },
        stop(why),
        Event::End,
    ]
}

#[test]
fn text_is_written_as_it_comes_and_the_last_chunk_has_the_usage() {
    let usage = Usage {
        input: Some(10),
        output: Some(5),
        reasoning: Some(2),
        cached_input: Some(4),
        cache_write: None,
    };
    let got = chunks(&[
        start(),
        open(0, Kind::Text),
        text(0, "Hi\n"),
        Event::Close { block: 0 },
        stop(Stop::End),
        Event::Usage(usage),
        Event::End,
    ]);
    let first = json!({
        "candidates": [{"content": {"parts": [{"text": "Hi\n"}], "role": "model"}, "index": 0}],
        "modelVersion": "model-1", "responseId": "theirs",
    });
    let last = json!({
        "candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 3,
            "thoughtsTokenCount": 2, "totalTokenCount": 15},
        "modelVersion": "model-1", "responseId": "theirs",
    });
    assert_eq!(got, [first, last]);
}

#[test]
fn thoughts_are_marked_and_foreign_signatures_name_their_format() {
    let signature = Signature { format: Format::Anthropic, data: "S".to_owned(), id: None };
    let got = chunks(&[
        start(),
        open(0, Kind::Reasoning),
        text(0, "hm"),
        Event::Delta { block: 0, piece: Piece::Signature(signature.clone()) },
        Event::Close { block: 0 },
    ]);
    let part = |chunk: &Value| chunk["candidates"][0]["content"]["parts"][0].clone();
    assert_eq!(part(&got[0]), json!({"text": "hm", "thought": true}));
    let signature = signature::encode(&signature);
    assert_eq!(part(&got[1]), json!({"text": "", "thought": true, "thoughtSignature": signature}));
}

#[test]
fn a_call_is_held_until_it_is_complete() {
    let got = chunks(&a_call("{\n\"a\":\r\n\"b\\n\"}", Stop::Calls));
    let call = json!({"functionCall": {"id": "c1", "name": "f", "args": {"a": "b\n"}}});
    assert_eq!(got[0]["candidates"][0]["content"]["parts"], json!([call]));
    assert_eq!(got[1]["candidates"][0]["finishReason"], "STOP");
    assert_eq!(got.len(), 2);
}

#[test]
fn a_damaged_call_is_left_out() {
    let reason = |events: &[Event]| {
        let got = chunks(events);
        assert_eq!(got.len(), 1, "the call is left out");
        got[0]["candidates"][0]["finishReason"].clone()
    };
    assert_eq!(reason(&a_call("{\"a\":", Stop::Calls)), "MALFORMED_FUNCTION_CALL");
    assert_eq!(reason(&a_call("[1]", Stop::Calls)), "MALFORMED_FUNCTION_CALL");
    assert_eq!(reason(&a_call("{\"a\":", Stop::Length)), "MAX_TOKENS");
    let response = Response::fold(&a_call("{\"a\":", Stop::Calls));
    let whole: Value =
        serde_json::from_slice(&encode_whole(&response, &context(Framing::Whole))).unwrap();
    assert_eq!(whole["candidates"][0]["finishReason"], "MALFORMED_FUNCTION_CALL");
    assert_eq!(whole["candidates"][0]["content"]["parts"], json!([]));
}

#[test]
fn an_array_is_closed_only_at_the_end() {
    let events = [
        start(),
        open(0, Kind::Text),
        text(0, "a"),
        Event::Close { block: 0 },
        stop(Stop::End),
        Event::End,
    ];
    let whole: Value = serde_json::from_str(&stream(&events, Framing::Array)).unwrap();
    assert_eq!(whole.as_array().unwrap().len(), 2);
    for cut in 0..events.len() {
        let text = stream(&events[..cut], Framing::Array);
        assert!(serde_json::from_str::<Value>(&text).is_err() && !text.contains("finishReason"));
        let mut failed = events[..cut].to_vec();
        failed.push(Event::Fail(failure()));
        let whole: Value = serde_json::from_str(&stream(&failed, Framing::Array)).unwrap();
        assert_eq!(whole.as_array().unwrap().last().unwrap()["error"]["code"], 503);
    }
}

#[test]
fn sources_are_written_at_the_end() {
    let cite = |citation: Value| Event::Delta { block: 0, piece: Piece::Citation(citation) };
    let annotation =
        json!({"type": "url_citation", "url_citation": {"url": "https://a", "title": "A"}});
    let events = [
        start(),
        open(0, Kind::Text),
        text(0, "a"),
        cite(annotation.clone()),
        cite(annotation),
        cite(json!({"type": "char_location"})),
        Event::Close { block: 0 },
        stop(Stop::End),
        Event::End,
    ];
    let grounding = json!({"groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}]});
    assert_eq!(chunks(&events)[1]["candidates"][0]["groundingMetadata"], grounding);
    let whole = encode_whole(&Response::fold(&events), &context(Framing::Whole));
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(whole["candidates"][0]["groundingMetadata"], grounding);
}

#[test]
fn nothing_follows_an_end() {
    let events = [start(), stop(Stop::End), Event::End, Event::Fail(failure()), Event::End];
    assert_eq!(chunks(&events).len(), 1);
}
