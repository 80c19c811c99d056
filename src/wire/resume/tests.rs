use serde_json::json;

use super::*;
use crate::wire::api::Operation::{Chat, Messages, StreamGenerateContent};

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn chat_delta(delta: &Value, finish: Option<&str>) -> String {
    data(&json!({"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))
}

fn chat(id: &str, pieces: &[&str]) -> String {
    let mut all = chat_delta(&json!({"role": "assistant", "content": ""}), None);
    for piece in pieces {
        all += &chat_delta(&json!({"content": piece}), None).replace("\"x\"", &format!("\"{id}\""));
    }
    all + &chat_delta(&json!({}), Some("stop")) + "data: [DONE]\n\n"
}

fn message(pieces: &[&str]) -> String {
    let event = |kind: &str, mut value: Value| {
        value["type"] = kind.into();
        format!("event: {kind}\ndata: {value}\n\n")
    };
    let mut all = event("message_start", json!({"message": {"id": pieces.len()}}));
    all += &event(
        "content_block_start",
        json!({"index": 0, "content_block": {"type": "text", "text": ""}}),
    );
    for piece in pieces {
        all += &event(
            "content_block_delta",
            json!({"index": 0, "delta": {"type": "text_delta", "text": piece}}),
        );
    }
    all += &event("content_block_stop", json!({"index": 0}));
    all += &event("message_delta", json!({"delta": {"stop_reason": "end_turn"}}));
    all + &event("message_stop", json!({}))
}

fn candidates(pieces: &[&str]) -> Vec<Value> {
    let of = |piece: &&str| json!({"candidates": [{"content": {"parts": [{"text": piece}]}}]});
    let mut all: Vec<Value> = pieces.iter().map(of).collect();
    let last = all.last_mut().unwrap();
    last["candidates"][0]["finishReason"] = "STOP".into();
    all
}

fn gemini(pieces: &[&str]) -> String {
    let events: Vec<String> =
        candidates(pieces).iter().map(|event| format!("data: {event}\r\n\r\n")).collect();
    events.concat()
}

fn array(pieces: &[&str]) -> String {
    Value::from(candidates(pieces)).to_string()
}

/// All texts of a stream, in order, whatever its format.
fn text(stream: &str) -> String {
    let mut said = String::new();
    let mut add = |event: &Value| {
        for place in [
            "/choices/0/delta/content",
            "/delta/text",
            "/candidates/0/content/parts/0/text",
            "/choices/0/delta/tool_calls/0/function/name",
            "/choices/0/delta/tool_calls/0/function/arguments",
        ] {
            said += event.pointer(place).and_then(Value::as_str).unwrap_or_default();
        }
    };
    if let Ok(Value::Array(elements)) = serde_json::from_str(stream) {
        elements.iter().for_each(&mut add);
    }
    for line in stream.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if let Ok(event) = serde_json::from_str(line) {
            add(&event);
        }
    }
    said
}

/// The first stream up to a cut and then the second, in chunks of so many bytes.
fn told(
    operation: Operation,
    framing: Framing,
    first: &str,
    second: &str,
    size: usize,
) -> (String, Result<(), Stop>) {
    let (mut story, mut out) = (Story::of(operation, framing).unwrap(), Vec::new());
    for chunk in first.as_bytes().chunks(size) {
        story.push(chunk, &mut out).unwrap();
    }
    assert!(story.can_go_on());
    story.again();
    let mut end = Ok(());
    for chunk in second.as_bytes().chunks(size) {
        end = end.and_then(|()| story.push(chunk, &mut out));
    }
    end = end.and_then(|()| story.end(&mut out));
    (String::from_utf8(out).unwrap(), end)
}

const PIECES: [&str; 3] = ["Gr\u{fc}\u{df}e, ", "\u{1f600} and ", "so on"];

type Make = fn(&[&str]) -> String;

#[test]
fn wherever_it_breaks_and_however_the_other_answer_is_cut_no_character_is_lost_or_doubled() {
    let whole: String = PIECES.concat();
    let single: Vec<String> = whole.chars().map(String::from).collect();
    let single: Vec<&str> = single.iter().map(String::as_str).collect();
    let forms: [(Operation, Framing, Make); 4] = [
        (Chat, Framing::Events, |pieces| chat("y", pieces)),
        (Messages, Framing::Events, message),
        (StreamGenerateContent, Framing::Events, gemini),
        (StreamGenerateContent, Framing::Array, array),
    ];
    for (operation, framing, make) in forms {
        let first = make(&PIECES);
        // Behind the finish reason nothing is missing.
        let most = if framing == Framing::Array { first.len() - 1 } else { first.len() };
        for cut in (0..most).filter(|cut| first.is_char_boundary(*cut)) {
            for pieces in [&PIECES[..], &[&*whole], &single] {
                let (out, end) = told(operation, framing, &first[..cut], &make(pieces), 7);
                assert_eq!(
                    (text(&out), end),
                    (whole.clone(), Ok(())),
                    "{operation:?} {cut}: {out}"
                );
            }
        }
    }
}

#[test]
fn what_is_the_same_passes_byte_for_byte() {
    let (first, cut) = (chat("a", &PIECES), chat("a", &PIECES[..2]));
    let cut = &cut[..cut.find("\"stop\"").unwrap()];
    for size in [1, 20, 1000] {
        assert_eq!(told(Chat, Framing::Events, cut, &first, size).0, first);
    }
    let first = message(&PIECES);
    let (out, _) = told(Messages, Framing::Events, &first[..first.len() / 2], &first, 9);
    assert_eq!(out, first);
}

#[test]
fn another_text_is_not_gone_on_with() {
    let first = chat("a", &["Hello, ", "world"]);
    let cut = &first[..first.find("\"stop\"").unwrap()];
    for other in [&["Hello. "][..], &["Hello, w"], &["Hello, ", "World"], &[]] {
        let (out, end) = told(Chat, Framing::Events, cut, &chat("b", other), 1000);
        assert_eq!(end, Err(Stop::Differs), "{other:?}");
        assert_eq!(text(&out), "Hello, world", "nothing is added");
        assert!(!out.contains("stop") && !out.contains("[DONE]"), "{out}");
    }
}

#[test]
fn a_call_goes_on_under_the_id_that_opened_it() {
    let call = |id: &str, name: &str, arguments: &str| json!({"index": 0, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let more = |arguments: &str| json!({"index": 0, "function": {"arguments": arguments}});
    let of = |calls: &[Value]| -> String {
        calls.iter().map(|call| chat_delta(&json!({"tool_calls": [call]}), None)).collect()
    };
    let first = of(&[call("call_1", "look", ""), more("{\"a\"")]);
    for (second, fits) in [
        (of(&[call("call_2", "look", "{\"a\":"), more("1}")]), true),
        (of(&[call("call_2", "look", ""), more("{\"a\":1}")]), true),
        (of(&[call("call_2", "other", ""), more("{\"a\":1}")]), false),
        (chat_delta(&json!({"content": "no call"}), None), false),
    ] {
        let end_of_it = chat_delta(&json!({}), Some("tool_calls"));
        let (out, end) = told(Chat, Framing::Events, &first, &(second + &end_of_it), 1000);
        assert_eq!(end.is_ok(), fits, "{out}");
        assert!(!out.contains("call_2"), "{out}");
        if fits {
            assert_eq!(text(&out), "look{\"a\":1}", "{out}");
        }
    }
}

#[test]
fn choices_come_side_by_side() {
    let piece = |index: u8, text: &str| {
        data(&json!({"choices": [{"index": index, "delta": {"content": text}}]}))
    };
    let first = [piece(0, "a"), piece(1, "x"), piece(0, "b")].concat();
    let second = [piece(1, "xy"), piece(0, "abc")].concat();
    let (out, end) = told(Chat, Framing::Events, &first, &second, 1000);
    assert_eq!(end, Ok(()));
    assert!(out.ends_with(&[piece(1, "y"), piece(0, "c")].concat().replace(": null", "")), "{out}");
}

#[test]
fn an_error_in_the_stream_is_told_apart() {
    let (mut story, mut out) = (Story::of(Chat, Framing::Events).unwrap(), Vec::new());
    let error = data(&json!({"error": {"message": "no"}}));
    let stream = chat_delta(&json!({"content": "a"}), None) + &error;
    let end = story.push(stream.as_bytes(), &mut out);
    assert_eq!(end, Err(Stop::Failed(error.into_bytes())));
    assert_eq!(text(std::str::from_utf8(&out).unwrap()), "a");
}

#[test]
fn what_is_not_understood_or_too_long_is_passed_and_not_gone_on_with() {
    let long = "x".repeat(300 * 1024);
    for said in [
        chat_delta(&json!({"audio": {"data": "AAAA"}}), None),
        "data: {garbled\n\n".to_owned(),
        chat_delta(&json!({"content": long}), None),
        chat_delta(&json!({"content": &long[..200 * 1024]}), None).repeat(3),
    ] {
        let (mut story, mut out) = (Story::of(Chat, Framing::Events).unwrap(), Vec::new());
        for chunk in said.as_bytes().chunks(10_000) {
            story.push(chunk, &mut out).unwrap();
        }
        assert!(out == said.as_bytes() && !story.can_go_on());
    }
}

#[test]
fn an_error_ends_it_where_it_stands() {
    let mut story = Story::of(StreamGenerateContent, Framing::Array).unwrap();
    let mut out = Vec::new();
    let whole = array(&PIECES);
    story.push(&whole.as_bytes()[..whole.len() / 2], &mut out).unwrap();
    out.extend_from_slice(&story.cut("it broke", "upstream_error").bytes);
    let elements: Vec<Value> = serde_json::from_slice(&out).unwrap();
    assert_eq!(elements.last().unwrap()["error"]["message"], "it broke");
}

#[test]
fn streams_whose_events_point_at_ids_are_not_gone_on_with() {
    for operation in [Operation::Responses, Operation::Speech, Operation::ConverseStream] {
        assert!(Story::of(operation, Framing::Events).is_none(), "{operation:?}");
    }
}

#[test]
fn what_is_no_array_passes_and_half_an_array_is_no_end() {
    let mut story = Story::of(StreamGenerateContent, Framing::Array).unwrap();
    let mut out = Vec::new();
    let object = br#" {"candidates":[]}"#;
    for byte in object {
        story.push(&[*byte], &mut out).unwrap();
    }
    story.end(&mut out).unwrap();
    assert!(out == object && !story.can_go_on());

    let mut story = Story::of(StreamGenerateContent, Framing::Array).unwrap();
    let end = story.push(br#"[{"candidates":[]} oops"#, &mut Vec::new());
    assert_eq!(end, Err(Stop::Garbled));
}
