//! Decodes and encodes recorded exchanges of Anthropic's Messages API.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stderr, reason = "reports what was skipped")]

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

const FORMAT: Format = Format::Anthropic;

/// Returns the exchanges in this format, from any cloud.
fn recorded() -> Vec<Exchange> {
    let all = exchanges::all(false).unwrap_or_default().into_iter();
    let is_messages = |exchange: &Exchange| {
        matches!(
            exchange.operation,
            Operation::Messages | Operation::RawPredict | Operation::StreamRawPredict
        )
    };
    all.filter(is_messages).collect()
}

fn streams() -> impl Iterator<Item = Exchange> {
    recorded().into_iter().filter(Exchange::is_stream)
}

fn bodies() -> impl Iterator<Item = Exchange> {
    recorded().into_iter().filter(|exchange| !exchange.is_stream())
}

fn context() -> ResponseContext {
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

/// Decodes a stream that arrives in chunks of this size.
fn decoded(body: &[u8], size: usize) -> Vec<Event> {
    let (mut sse, mut out) = (Sse::new(1 << 24), Vec::new());
    let mut decoder = Decoder::new(FORMAT, &PLAIN);
    body.chunks(size).for_each(|chunk| push(&mut sse, &mut decoder, chunk, &mut out));
    decoder.end(&mut out);
    out
}

/// Returns the stream up to the end of each event, except the last one.
fn prefixes(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let body = body.trim_ascii_end();
    let ends = (2..=body.len()).filter(|end| body[..*end].ends_with(b"\n\n"));
    ends.map(|end| &body[..end])
}

fn encoded(events: &[Event]) -> Vec<u8> {
    let mut encoder = Encoder::new(FORMAT, context()).unwrap();
    let mut out = Vec::new();
    for event in events {
        encoder.event(event, &mut out);
    }
    out
}

#[test]
fn streams_follow_the_grammar_in_any_chunking() {
    for exchange in streams() {
        let whole = decoded(&exchange.body, usize::MAX);
        grammar::check(&whole).unwrap_or_else(|broken| panic!("{}: {broken}", exchange.id));
        assert_eq!(whole.last(), Some(&Event::End), "{}", exchange.id);
        for size in [1, 7, 64] {
            assert_eq!(decoded(&exchange.body, size), whole, "{} by {size}", exchange.id);
        }
    }
}

#[test]
fn a_prefix_of_a_stream_follows_the_grammar_and_has_no_end() {
    for exchange in streams() {
        for prefix in prefixes(&exchange.body) {
            let events = decoded(prefix, usize::MAX);
            grammar::check(&events).unwrap_or_else(|broken| panic!("{}: {broken}", exchange.id));
            assert!(!events.contains(&Event::End), "{}", exchange.id);
            let cut = String::from_utf8(encoded(&events)).unwrap();
            assert!(!cut.contains("event: message_stop"), "{}", exchange.id);
        }
    }
}

#[test]
fn an_encoded_stream_decodes_to_the_same_answer() {
    for exchange in streams() {
        let events = decoded(&exchange.body, usize::MAX);
        let again = decoded(&encoded(&events), usize::MAX);
        grammar::check(&again).unwrap_or_else(|broken| panic!("{}: {broken}", exchange.id));
        let mut expected = Response::fold(&events);
        // The tier would be in the first event of a stream, when it is not known yet.
        expected.tier = None;
        assert_eq!(Response::fold(&again), expected, "{}", exchange.id);
    }
}

#[test]
fn an_encoded_whole_answer_decodes_to_the_same_answer() {
    let mut answers = 0;
    for exchange in bodies() {
        let events = decode_whole(FORMAT, &exchange.body, &PLAIN);
        grammar::check(&events).unwrap_or_else(|broken| panic!("{}: {broken}", exchange.id));
        let response = Response::fold(&events);
        assert_eq!(response.failed.is_some(), exchange.status >= 400, "{}", exchange.id);
        if response.failed.is_none() {
            let again =
                decode_whole(FORMAT, &encode_whole(FORMAT, &response, &context()).unwrap(), &PLAIN);
            assert_eq!(Response::fold(&again), response, "{}", exchange.id);
            assert_eq!(
                Response::fold(&decoded(&encoded(&events), 9)).candidates,
                response.candidates
            );
            answers += 1;
        }
    }
    assert!(answers > 10 || std::env::var_os("KEYMUX_SHARED").is_none(), "only {answers}");
}

#[test]
fn recorded_requests_survive_decoding_and_encoding() {
    for exchange in recorded() {
        // The API itself refused the others.
        let Some(body) = exchange.request.as_ref().filter(|_| exchange.status < 400) else {
            continue;
        };
        let mut expected: Value = serde_json::from_slice(body).unwrap();
        if expected["messages"].is_null() {
            continue;
        }
        let named = expected["model"].as_str().unwrap_or("claude-sonnet-4-5").to_owned();
        let stream = expected["stream"] == true;
        let request = decode_request(FORMAT, body, &named, stream)
            .unwrap_or_else(|rejected| panic!("{}: {rejected}", exchange.id));
        let encoded = match encode_request(FORMAT, FORMAT, &request, &PLAIN) {
            Ok(encoded) => encoded,
            Err(rejected) => panic!("{}: {rejected}", exchange.id),
        };
        let mut again: Value = serde_json::from_slice(&encoded.body).unwrap();
        normalise(&mut expected, &named);
        normalise(&mut again, &named);
        assert_eq!(again, expected, "{}", exchange.id);
        // Model and stream come first, because the clouds have them in the path and they are removed.
        let start = format!("{{\"model\":{}", json!(named));
        assert!(encoded.body.starts_with(start.as_bytes()), "{}", exchange.id);
    }
}

/// Rewrites what has several equivalent forms to one of them.
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
    // The cache point of the body is that of its last block.
    if let Some(cache_point) = body.remove("cache_control") {
        let last = body["messages"].as_array_mut().unwrap().last_mut().unwrap();
        let blocks = last["content"].as_array_mut().unwrap();
        blocks.last_mut().unwrap()["cache_control"] = cache_point;
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
            // The hub has no field for document citations; they are reported as dropped.
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
