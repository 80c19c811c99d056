//! Answers: chunks to events, events to chunks.

use super::*;
use crate::wire::failure::ProviderError;
use crate::wire::ir::Signature;

fn reply(chunks: &[Value]) -> Response {
    Response::fold(&decode(chunks))
}

fn calls(chunks: &[Value]) -> Vec<(Option<String>, String, String)> {
    let blocks = reply(chunks).candidates.remove(0).blocks.into_iter();
    let calls = blocks.filter_map(|block| match block.content {
        crate::wire::ir::Content::ToolCall { id, name, arguments } => Some((id, name, arguments)),
        _ => None,
    });
    calls.collect()
}

fn call(id: &str, name: &str, arguments: &str) -> (Option<String>, String, String) {
    (Some(id.to_owned()).filter(|id| !id.is_empty()), name.to_owned(), arguments.to_owned())
}

fn piece(call: &Value) -> Value {
    delta(&json!({ "tool_calls": [call] }))
}

#[test]
fn calls_at_one_index_are_told_apart_by_their_ids() {
    let one = |id: &str, name: &str| {
        piece(&json!({ "index": 0, "id": id, "function": { "name": name, "arguments": "{}" } }))
    };
    let read = calls(&[one("a", "f"), one("b", "f"), finish("tool_calls")]);
    assert_eq!(read, [call("a", "f", "{}"), call("b", "f", "{}")]);
}

#[test]
fn a_call_may_repeat_its_id_and_have_no_index() {
    let first = piece(&json!({ "id": "a", "function": { "name": "f", "arguments": "" } }));
    let more = |text: &str| piece(&json!({ "id": "a", "function": { "arguments": text } }));
    let read = calls(&[first, more("{\"x\""), more(":1}"), finish("tool_calls")]);
    assert_eq!(read, [call("a", "f", "{\"x\":1}")]);
}

#[test]
fn a_name_may_come_in_pieces_and_ids_not_at_all() {
    let named = |name: &str| piece(&json!({ "index": 0, "function": { "name": name } }));
    let arguments = |text: &str| piece(&json!({ "index": 0, "function": { "arguments": text } }));
    let chunks = [named("get_"), named("time"), arguments("{}"), named("stop"), arguments("{}")];
    let read = calls(&chunks.into_iter().chain([finish("stop")]).collect::<Vec<_>>());
    assert_eq!(read, [call("", "get_time", "{}"), call("", "stop", "{}")]);
}

#[test]
fn arguments_may_be_an_object_and_a_call_of_the_old_form() {
    let object = piece(
        &json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": { "x": 1 } } }),
    );
    assert_eq!(calls(&[object, finish("tool_calls")]), [call("a", "f", "{\"x\":1}")]);
    let old = delta(&json!({ "function_call": { "name": "f", "arguments": "{}" } }));
    assert_eq!(calls(&[old, finish("function_call")]), [call("", "f", "{}")]);
}

#[test]
fn interleaved_calls_lose_nothing() {
    let begin = |index: u32, id: &str| {
        piece(&json!({ "index": index, "id": id, "function": { "name": "f", "arguments": "{" } }))
    };
    let end = |index: u32| piece(&json!({ "index": index, "function": { "arguments": "}" } }));
    let read = calls(&[begin(0, "a"), begin(1, "b"), end(0), end(1), finish("tool_calls")]);
    assert_eq!(read, [call("a", "f", "{}"), call("b", "f", "{}")]);
}

#[test]
fn an_answer_with_calls_stops_for_the_calls() {
    let one =
        piece(&json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": "{}" } }));
    assert_eq!(reply(&[one, finish("stop")]).candidates[0].stop, Some(Stop::Calls));
    let text = delta(&json!({ "content": "x" }));
    assert_eq!(reply(&[text, finish("stop")]).candidates[0].stop, Some(Stop::End));
}

#[test]
fn an_answer_with_calls_and_without_a_finish_reason_stops_for_the_calls() {
    let call = || piece(&json!({ "id": "a", "function": { "name": "f", "arguments": "{}" } }));
    assert_eq!(reply(&[call(), finish("")]).candidates[0].stop, Some(Stop::Calls));
    assert_eq!(reply(&[call()]).candidates[0].stop, Some(Stop::Calls));
    assert_eq!(reply(&[call(), finish("length")]).candidates[0].stop, Some(Stop::Length));
}

#[test]
fn a_signature_comes_in_a_delta_with_its_function() {
    let signature = Signature { format: Format::Gemini, data: "s".to_owned(), id: None };
    let events = [
        open(0, Kind::ToolCall { id: Some("a".to_owned()), name: "f".to_owned() }),
        text(0, "{}"),
        Event::Delta { block: 0, piece: Piece::Signature(signature) },
        Event::Close { block: 0 },
    ];
    let stream = encode_all(&events, false);
    let signed = r#"{"index":0,"function":{"arguments":""},"extra_content":{"google":{"thought_signature":"s"}}}"#;
    assert!(stream.contains(signed), "{stream}");
    let whole = String::from_utf8(encode_whole(&Response::fold(&events), &context(false))).unwrap();
    let signed = r#""function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"s"}}"#;
    assert!(whole.contains(signed), "{whole}");
}

#[test]
fn a_stop_sequence_is_named_by_vllm() {
    let end = json!({ "choices": [{ "delta": { "content": "x" }, "finish_reason": "stop", "stop_reason": "END" }] });
    let candidate = reply(&[end]).candidates.remove(0);
    assert_eq!(
        (candidate.stop, candidate.sequence.as_deref()),
        (Some(Stop::Sequence), Some("END"))
    );
    let token = json!({ "choices": [{ "delta": {}, "finish_reason": "stop", "stop_reason": 2 }] });
    assert_eq!(reply(&[token]).candidates[0].stop, Some(Stop::End));
}

#[test]
fn errors_in_all_shapes_end_the_answer() {
    let text = delta(&json!({ "content": "x" }));
    let shapes = [
        json!({ "error": { "message": "no", "code": 502 } }),
        json!({ "error": "no" }),
        json!({ "choices": [{ "delta": {}, "error": { "message": "no", "code": 502 }, "finish_reason": "error" }] }),
        json!({ "object": "error", "message": "no", "code": 502 }),
    ];
    for shape in shapes {
        let events = decode(&[text.clone(), shape.clone()]);
        let Some(Event::Fail(error)) = events.last() else { panic!("{shape}: {events:?}") };
        assert_eq!(error.message, "no", "{shape}");
    }
    let events = decode(&[]);
    assert!(matches!(events.as_slice(), [Event::Fail(_)]), "an empty answer is none: {events:?}");
}

#[test]
fn a_body_that_is_not_json_fails() {
    let mut decoder = Decoder::new(&quirks::PLAIN);
    let mut out = Vec::new();
    decoder.frame(Frame::Event { name: b"", data: b"{\"choices\":[" }, &mut out);
    decoder.frame(Frame::Event { name: b"", data: b"[DONE]" }, &mut out);
    assert!(matches!(out.as_slice(), [Event::Fail(_)]), "{out:?}");
    let whole = decode_whole(b"<html>", &quirks::PLAIN);
    assert!(matches!(whole.as_slice(), [Event::Fail(_)]), "{whole:?}");
}

#[test]
fn without_done_a_finish_reason_ends_a_stream_and_text_does_not() {
    let mut decoder = Decoder::new(&quirks::PLAIN);
    let mut out = Vec::new();
    let mut take = |chunk: Value, out: &mut Vec<Event>| {
        let data = chunk.to_string();
        decoder.frame(Frame::Event { name: b"", data: data.as_bytes() }, out);
        let mut end = Vec::new();
        decoder.end(&mut end);
        end
    };
    assert_eq!(take(delta(&json!({ "content": "x" })), &mut out), []);
    let end = take(finish("stop"), &mut out);
    assert_eq!(end.last(), Some(&Event::End));
}

#[test]
fn signed_reasoning_keeps_its_details() {
    let reasoning = delta(
        &json!({ "reasoning": "a", "reasoning_details": [{ "type": "reasoning.text", "text": "a" }] }),
    );
    let signed =
        delta(&json!({ "reasoning_details": [{ "type": "reasoning.text", "signature": "s" }] }));
    let text = delta(&json!({ "content": "x" }));
    let blocks = reply(&[reasoning, signed, text, finish("stop")]).candidates.remove(0).blocks;
    let signature = blocks[0].signature.as_ref().unwrap();
    assert_eq!(signature.format, Format::OpenAiChat);
    assert_eq!(signature.data, r#"[{"type":"reasoning.text","signature":"s"}]"#);
}

fn encode_all(events: &[Event], usage: bool) -> String {
    let mut encoder = Encoder::new(context(usage));
    let mut out = Vec::new();
    for event in events {
        encoder.event(event, &mut out);
    }
    String::from_utf8(out).unwrap()
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

#[test]
fn a_stream_is_written_as_openai_writes_it() {
    let usage = crate::wire::inspect::usage::Usage {
        input: Some(3),
        output: Some(2),
        ..Default::default()
    };
    let name = "f".to_owned();
    let events = [
        Event::Start { id: None, model: Some("real".to_owned()), created: None },
        open(0, Kind::Text),
        text(0, "Hi"),
        Event::Close { block: 0 },
        open(1, Kind::ToolCall { id: None, name }),
        text(1, "{}"),
        Event::Close { block: 1 },
        Event::Usage(usage),
        stop(Stop::Calls),
        Event::End,
    ];
    let head = r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"real","choices":["#;
    let chunk = |delta: &str, reason: &str| {
        format!(
            r#"{head}{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason}}}]}}"#
        )
    };
    let mut lines = vec![
        chunk(r#"{"role":"assistant","content":""}"#, "null"),
        chunk(r#"{"content":"Hi"}"#, "null"),
        chunk(
            r#"{"tool_calls":[{"index":0,"id":"call_1_1","type":"function","function":{"name":"f","arguments":""}}]}"#,
            "null",
        ),
        chunk(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#, "null"),
        chunk("{}", r#""tool_calls""#),
        format!(
            r#"{head}],"usage":{{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}}}"#
        ),
        "data: [DONE]".to_owned(),
    ];
    let stream = encode_all(&events, true);
    assert_eq!(stream.split_terminator("\n\n").collect::<Vec<_>>(), lines);
    lines.remove(5);
    let stream = encode_all(&events, false);
    assert_eq!(stream.split_terminator("\n\n").collect::<Vec<_>>(), lines);
}

#[test]
fn nothing_follows_an_error() {
    let error = ProviderError::malformed("gone");
    let stream = encode_all(&[open(0, Kind::Text), text(0, "x"), Event::Fail(error)], true);
    assert!(!stream.contains("[DONE]") && stream.contains(r#"data: {"error":{"message":"gone""#));
}

#[test]
fn a_citation_has_the_place_of_the_citing_text() {
    let citation =
        json!({ "type": "web_search_result_location", "url": "https://x", "title": "X" });
    let events = [
        open(0, Kind::Text),
        text(0, "né"),
        Event::Close { block: 0 },
        open(1, Kind::Text),
        text(1, "abc"),
        Event::Delta { block: 1, piece: Piece::Citation(citation) },
        Event::Close { block: 1 },
        stop(Stop::End),
    ];
    let stream = encode_all(&events, false);
    let annotation = r#""annotations":[{"type":"url_citation","url_citation":{"url":"https://x","title":"X","start_index":2,"end_index":5}}]"#;
    assert!(stream.contains(annotation), "{stream}");
    let whole = encode_whole(&Response::fold(&events), &context(false));
    let whole = String::from_utf8(whole).unwrap();
    assert!(whole.contains(annotation), "{whole}");
}

#[test]
fn a_call_without_arguments_has_an_empty_object() {
    let empty = piece(&json!({ "index": 0, "id": "a", "function": { "name": "f" } }));
    let events = decode(&[empty, finish("tool_calls")]);
    let whole = encode_whole(&Response::fold(&events), &context(false));
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], "{}");
    let mut encoder = Encoder::new(context(false));
    let mut out = Vec::new();
    for event in &events {
        encoder.event(event, &mut out);
    }
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains(r#""tool_calls":[{"index":0,"function":{"arguments":"{}"}}]"#), "{out}");
}

#[test]
fn a_message_is_read_rather_than_the_empty_delta_beside_it() {
    let choice = json!({
        "index": 0,
        "delta": { "role": "assistant", "content": "" },
        "message": { "role": "assistant", "content": "x" },
        "finish_reason": "stop",
    });
    let body = json!({ "choices": [choice] }).to_string();
    let reply = Response::fold(&decode_whole(body.as_bytes(), &quirks::PLAIN));
    assert_eq!(reply.candidates[0].blocks[0].content, crate::wire::ir::Content::text("x"));
}
