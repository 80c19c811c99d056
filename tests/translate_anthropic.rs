//! Anthropic's messages, read and written: held over recorded exchanges.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stderr, reason = "says what was skipped")]

#[path = "wire_recorded/exchanges.rs"]
mod exchanges;
#[path = "translation/grammar.rs"]
#[allow(unreachable_pub, reason = "each test is a crate of its own")]
mod grammar;

use exchanges::Exchange;
use serde_json::{Map, Value, json};

use keymux::wire::api::{Format, Framing, Operation};
use keymux::wire::format::context::ResponseContext;
use keymux::wire::format::quirks::PLAIN;
use keymux::wire::frame::Frame;
use keymux::wire::frame::sse::{Frame as SseFrame, Sse};
use keymux::wire::ir::{Event, Response};
use keymux::wire::translate::{
    Decoder, Encoder, decode_request, decode_whole, encode_request, encode_whole,
};

const WIRE: Format = Format::Anthropic;

/// Exchanges in this format, whoever served them.
fn recorded() -> Vec<Exchange> {
    let all = exchanges::all(false).unwrap_or_default().into_iter();
    let own = |exchange: &Exchange| {
        matches!(
            exchange.operation,
            Operation::Messages | Operation::RawPredict | Operation::StreamRawPredict
        )
    };
    all.filter(own).collect()
}

fn streams() -> impl Iterator<Item = Exchange> {
    recorded().into_iter().filter(Exchange::is_stream)
}

fn bodies() -> impl Iterator<Item = Exchange> {
    recorded().into_iter().filter(|exchange| !exchange.is_stream())
}

fn shown() -> ResponseContext {
    ResponseContext {
        id: "made".to_owned(),
        created: 1,
        model: "asked".to_owned(),
        usage: true,
        framing: Framing::Events,
        echo: None,
    }
}

fn push(sse: &mut Sse, decoder: &mut Decoder, bytes: &[u8], out: &mut Vec<Event>) {
    sse.push(bytes, |frame| {
        let SseFrame::Event(event) = frame else { panic!("a long event") };
        decoder.frame(Frame::Event { name: event.name, data: event.data.trim_ascii() }, out);
    });
}

/// What a stream tells that comes in pieces of this size.
fn heard(body: &[u8], size: usize) -> Vec<Event> {
    let (mut sse, mut out) = (Sse::new(1 << 24), Vec::new());
    let mut decoder = Decoder::new(WIRE, &PLAIN);
    body.chunks(size).for_each(|chunk| push(&mut sse, &mut decoder, chunk, &mut out));
    decoder.end(&mut out);
    out
}

/// The stream up to the end of each event, the last one left out.
fn prefixes(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let body = body.trim_ascii_end();
    let ends = (2..=body.len()).filter(|end| body[..*end].ends_with(b"\n\n"));
    ends.map(|end| &body[..end])
}

fn written(events: &[Event]) -> Vec<u8> {
    let mut encoder = Encoder::new(WIRE, shown()).unwrap();
    let mut out = Vec::new();
    for event in events {
        encoder.event(event, &mut out);
    }
    out
}

#[test]
fn streams_keep_to_the_grammar_however_they_are_cut() {
    for exchange in streams() {
        let whole = heard(&exchange.body, usize::MAX);
        grammar::check(&whole).unwrap_or_else(|broken| panic!("{}: {broken}", exchange.id));
        assert_eq!(whole.last(), Some(&Event::End), "{}", exchange.id);
        for size in [1, 7, 64] {
            assert_eq!(heard(&exchange.body, size), whole, "{} by {size}", exchange.id);
        }
    }
}

#[test]
fn a_prefix_of_a_stream_keeps_to_the_grammar_and_has_no_end() {
    for exchange in streams() {
        for prefix in prefixes(&exchange.body) {
            let told = heard(prefix, usize::MAX);
            grammar::check(&told).unwrap_or_else(|broken| panic!("{}: {broken}", exchange.id));
            assert!(!told.contains(&Event::End), "{}", exchange.id);
            let cut = String::from_utf8(written(&told)).unwrap();
            assert!(!cut.contains("event: message_stop"), "{}", exchange.id);
        }
    }
}

#[test]
fn a_stream_written_for_a_caller_tells_the_same_again() {
    for exchange in streams() {
        let told = heard(&exchange.body, usize::MAX);
        let again = heard(&written(&told), usize::MAX);
        grammar::check(&again).unwrap_or_else(|broken| panic!("{}: {broken}", exchange.id));
        let mut expected = Response::fold(&told);
        // What served is told at the beginning of a stream, when it is not known yet.
        expected.tier = None;
        assert_eq!(Response::fold(&again), expected, "{}", exchange.id);
    }
}

#[test]
fn whole_answers_tell_the_same_again() {
    let mut answers = 0;
    for exchange in bodies() {
        let told = decode_whole(WIRE, &exchange.body, &PLAIN);
        grammar::check(&told).unwrap_or_else(|broken| panic!("{}: {broken}", exchange.id));
        let reply = Response::fold(&told);
        assert_eq!(reply.failed.is_some(), exchange.status >= 400, "{}", exchange.id);
        if reply.failed.is_none() {
            let again = decode_whole(WIRE, &encode_whole(WIRE, &reply, &shown()).unwrap(), &PLAIN);
            assert_eq!(Response::fold(&again), reply, "{}", exchange.id);
            assert_eq!(Response::fold(&heard(&written(&told), 9)).candidates, reply.candidates);
            answers += 1;
        }
    }
    assert!(answers > 10 || std::env::var_os("KEYMUX_SHARED").is_none(), "only {answers}");
}

#[test]
fn recorded_requests_are_read_and_written_again_with_the_same_meaning() {
    for exchange in recorded() {
        // What the API itself refuses is not said again.
        let Some(body) = exchange.request.as_ref().filter(|_| exchange.status < 400) else {
            continue;
        };
        let mut expected: Value = serde_json::from_slice(body).unwrap();
        if expected["messages"].is_null() {
            continue;
        }
        let named = expected["model"].as_str().unwrap_or("claude-sonnet-4-5").to_owned();
        let stream = expected["stream"] == true;
        let request = decode_request(WIRE, body, &named, stream)
            .unwrap_or_else(|refused| panic!("{}: {refused}", exchange.id));
        let encoded = match encode_request(WIRE, WIRE, &request, &PLAIN) {
            Ok(encoded) => encoded,
            Err(refused) => panic!("{}: {refused}", exchange.id),
        };
        let mut again: Value = serde_json::from_slice(&encoded.body).unwrap();
        normalise(&mut expected, &named);
        normalise(&mut again, &named);
        assert_eq!(again, expected, "{}", exchange.id);
        // Behind a cloud's address the model and the wish for a stream stand first, to be taken out.
        let start = format!("{{\"model\":{}", json!(named));
        assert!(encoded.body.starts_with(start.as_bytes()), "{}", exchange.id);
    }
}

/// Brings what may be written in several ways into one.
fn normalise(body: &mut Value, model: &str) {
    let body = body.as_object_mut().unwrap();
    body.remove("anthropic_version");
    body.insert("model".to_owned(), json!(model));
    let drop = |body: &mut Map<String, Value>, name: &str, default: &Value| {
        if body.get(name) == Some(default) {
            body.remove(name);
        }
    };
    drop(body, "stream", &json!(false));
    drop(body, "temperature", &json!(1.0));
    // The mark of the body is that of its last block.
    if let Some(mark) = body.remove("cache_control") {
        let last = body["messages"].as_array_mut().unwrap().last_mut().unwrap();
        let blocks = last["content"].as_array_mut().unwrap();
        blocks.last_mut().unwrap()["cache_control"] = mark;
    }
    if let Some(format) = body.remove("output_format") {
        body.insert("output_config".to_owned(), json!({ "format": format }));
    }
    if let Some(system) = body.get_mut("system") {
        as_blocks(system);
    }
    if let Some(choice) = body.get_mut("tool_choice").and_then(Value::as_object_mut) {
        drop(choice, "disable_parallel_tool_use", &json!(false));
    }
    for message in body["messages"].as_array_mut().unwrap() {
        as_blocks(&mut message["content"]);
        for block in message["content"].as_array_mut().unwrap() {
            let members = block.as_object_mut().unwrap();
            drop(members, "is_error", &json!(false));
            members.remove("caller");
            // That documents are to be cited has no place in between, and is named as left out.
            if members["type"] == "document" {
                members.remove("citations");
            }
            if members["type"] == "tool_result"
                && let Some(content) = members.get_mut("content")
            {
                as_blocks(content);
            }
        }
    }
}

fn as_blocks(content: &mut Value) {
    if let Value::String(text) = content {
        *content = json!([{ "type": "text", "text": text }]);
    }
}
