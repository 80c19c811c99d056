//! Gemini's format over recorded exchanges of the Gemini API and of Vertex.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "so that a test fails, or reports that it is skipped"
)]

#[path = "wire_recorded/exchanges.rs"]
mod exchanges;

use std::collections::BTreeSet;

use exchanges::Exchange;
use serde_json::{Map, Value, json};

use keymux::wire::api::{Format, Framing};
use keymux::wire::format::context::ResponseContext;
use keymux::wire::format::gemini;
use keymux::wire::format::quirks::PLAIN;
use keymux::wire::frame::Frame;
use keymux::wire::ir::{Content, Event, Kind, Request, Response, Stop};
use keymux::wire::translate;
use keymux::wire::translate::{Decoder, Encoder, Translation, decode_whole};

fn recorded() -> Vec<Exchange> {
    let all = exchanges::all(false).unwrap_or_default();
    let own =
        all.into_iter().filter(|exchange| Format::of(exchange.operation) == Some(Format::Gemini));
    let own: Vec<_> = own.collect();
    assert!(own.is_empty() || own.len() > 30, "only {}", own.len());
    own
}

fn context(framing: Framing) -> ResponseContext {
    let (id, model) = ("ours".to_owned(), "alias".to_owned());
    ResponseContext { id, created: 1, model, usage: true, framing, echo: None }
}

/// Decodes the request of an exchange, with the model that its answer names.
fn request(exchange: &Exchange) -> Option<Request> {
    let body = exchange.request.as_deref()?;
    let model = serde_json::from_slice::<Value>(&exchange.body).unwrap_or_default();
    let model = model["modelVersion"].as_str().unwrap_or("gemini-2.5-flash").to_owned();
    let decoded = translate::decode_request(Format::Gemini, body, &model, exchange.is_stream());
    Some(decoded.unwrap_or_else(|error| panic!("{}: {error}", exchange.id)))
}

#[test]
fn every_request_keeps_its_meaning_when_it_is_encoded_again() {
    for exchange in recorded() {
        let Some(request) = request(&exchange) else { continue };
        assert!(request.unknown.is_empty(), "{}: {:?}", exchange.id, request.unknown);
        // A file by its address within a result, which only Vertex takes, is encoded after the result.
        if exchange.id.contains("error-400-tool-result-vision") {
            continue;
        }
        let encoded = translate::encode_request(Format::Gemini, Format::Gemini, &request, &PLAIN)
            .unwrap_or_else(|error| panic!("{}: {error}", exchange.id))
            .body;
        let again =
            translate::decode_request(Format::Gemini, &encoded, &request.model, request.stream);
        assert_eq!(meaning(again.unwrap()), meaning(request), "{}", exchange.id);
        let before: Value = serde_json::from_slice(exchange.request.as_deref().unwrap()).unwrap();
        let after: Value = serde_json::from_slice(&encoded).unwrap();
        assert_eq!(plain(&after["contents"]), plain(&before["contents"]), "{}", exchange.id);
    }
}

/// Normalizes what means the same to Google, and leaves out the places.
fn meaning(mut request: Request) -> String {
    request.asked.clear();
    // Results are in a content apart from the rest of their turn.
    let mut turns: Vec<keymux::wire::ir::Turn> = Vec::new();
    for turn in request.turns.drain(..) {
        match turns.last_mut() {
            Some(last) if last.role == turn.role => last.blocks.extend(turn.blocks),
            _ => turns.push(turn),
        }
    }
    request.turns = turns;
    let tools = std::mem::take(&mut request.tools);
    let (functions, others): (Vec<_>, Vec<_>) =
        tools.into_iter().partition(|tool| matches!(tool, keymux::wire::ir::Tool::Function { .. }));
    request.tools = [functions, others].concat();
    if let Some(thinking) = &mut request.thinking {
        thinking.shown = thinking.shown.or(Some(true));
    }
    let text = format!("{request:?}");
    let places = text.split("at: \"").enumerate().map(|(n, piece)| match n {
        0 => piece,
        _ => piece.split_once('"').unwrap().1,
    });
    places.collect()
}

/// Normalizes the names in contents, and leaves out members without a meaning.
fn plain(contents: &Value) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for content in contents.as_array().unwrap() {
        let role = content["role"].as_str().unwrap_or("user");
        for part in content["parts"].as_array().unwrap() {
            let mut members = Map::new();
            for (name, value) in part.as_object().unwrap() {
                let mut words = name.split('_');
                let first = words.next().unwrap().to_owned();
                let rest = words.map(|word| word[..1].to_uppercase() + &word[1..]);
                let name = rest.fold(first, |name, word| name + &word);
                // Their alphabet or letter case differs.
                let compared = !matches!(&*name, "inlineData" | "functionResponse");
                if *value != json!(false) && !value.is_null() {
                    members.insert(name, if compared { value.clone() } else { json!(true) });
                }
            }
            out.push(json!({"role": role, "part": members}));
        }
    }
    out
}

#[test]
fn every_answer_follows_the_grammar_and_ends() {
    let mut kinds = BTreeSet::new();
    for exchange in recorded() {
        let events = events(&exchange);
        grammar(&events).unwrap_or_else(|broken| panic!("{}: {broken}: {events:?}", exchange.id));
        let response = Response::fold(&events);
        if exchange.status >= 400 {
            let error = response.failed.unwrap_or_else(|| panic!("{}: no failure", exchange.id));
            assert_eq!(error.status, Some(exchange.status), "{}", exchange.id);
            continue;
        }
        assert!(response.ended, "{}: {events:?}", exchange.id);
        assert!(response.usage.input.is_some() && response.model.is_some(), "{}", exchange.id);
        let calls = response.candidates[0]
            .blocks
            .iter()
            .filter(|block| matches!(block.content, Content::ToolCall { .. }))
            .inspect(|block| {
                let Content::ToolCall { arguments, .. } = &block.content else { return };
                assert!(serde_json::from_str::<Map<String, Value>>(arguments).is_ok());
            })
            .count();
        assert_eq!(response.candidates[0].stop == Some(Stop::Calls), calls > 0, "{}", exchange.id);
        assert_eq!(exchange.has("tool_call"), calls > 0, "{}", exchange.id);
        for event in events {
            if let Event::Open { kind, .. } = event {
                kinds.insert(match kind {
                    Kind::Text => "text",
                    Kind::Reasoning => "thought",
                    Kind::ToolCall { .. } => "call",
                    Kind::Foreign { .. } => "foreign",
                    Kind::Media(_) | Kind::Refusal => "other",
                });
            }
        }
    }
    assert!(
        kinds.is_empty()
            || kinds.is_superset(&BTreeSet::from(["text", "thought", "call", "foreign"])),
        "{kinds:?}"
    );
}

/// Decodes an answer, whole or streamed.
fn events(exchange: &Exchange) -> Vec<Event> {
    let mut events = Vec::new();
    if exchange.status >= 400 || !exchange.is_stream() {
        return decode_whole(Format::Gemini, &exchange.body, &PLAIN);
    }
    let mut decoder = Decoder::new(Format::Gemini, &PLAIN);
    for data in frames(exchange) {
        decoder.frame(Frame::Event { name: b"", data: data.as_bytes() }, &mut events);
    }
    decoder.end(&mut events);
    events
}

fn frames(exchange: &Exchange) -> Vec<String> {
    let text = std::str::from_utf8(&exchange.body).unwrap();
    if exchange.framing() == Framing::Array {
        let elements: Vec<Value> = serde_json::from_str(text).unwrap();
        return elements.iter().map(Value::to_string).collect();
    }
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
}

#[test]
fn a_cut_stream_has_no_end() {
    for exchange in recorded().iter().filter(|own| own.is_stream() && own.status == 200) {
        let frames = frames(exchange);
        for cut in 0..frames.len() {
            let (mut decoder, mut events) = (Decoder::new(Format::Gemini, &PLAIN), Vec::new());
            for data in &frames[..cut] {
                decoder.frame(Frame::Event { name: b"", data: data.as_bytes() }, &mut events);
            }
            decoder.end(&mut events);
            grammar(&events).unwrap();
            assert!(!events.contains(&Event::End), "{} cut at {cut}", exchange.id);
        }
    }
}

#[test]
fn any_chunking_gives_the_same_stream_with_the_meaning_of_the_recorded_one() {
    for exchange in recorded().iter().filter(|own| own.is_stream() && own.status == 200) {
        let original = Response::fold(&events(exchange));
        for framing in [Framing::Events, Framing::Array] {
            let translated = |size: usize| {
                let decoder = Decoder::new(Format::Gemini, &PLAIN);
                let encoder = Encoder::new(Format::Gemini, context(framing)).unwrap();
                let mut stream =
                    Translation::new(exchange.framing(), framing, decoder, encoder, None).unwrap();
                let mut out = Vec::new();
                for chunk in exchange.body.chunks(size) {
                    stream.push(chunk, &mut out);
                }
                stream.end(&mut out);
                assert!(stream.is_over() && stream.failure().is_none(), "{}", exchange.id);
                out
            };
            let whole = translated(exchange.body.len());
            for size in [7, 64, 1000] {
                assert_eq!(translated(size), whole, "{} in chunks of {size}", exchange.id);
            }
            let again = Exchange {
                id: exchange.id.clone(),
                operation: exchange.operation,
                features: Vec::new(),
                request: None,
                status: 200,
                headers: vec![(
                    "content-type".to_owned(),
                    if framing == Framing::Array {
                        "application/json"
                    } else {
                        "text/event-stream"
                    }
                    .to_owned(),
                )],
                body: whole,
            };
            same(&Response::fold(&events(&again)), &original, &exchange.id);
        }
    }
}

#[test]
fn a_whole_answer_keeps_the_meaning_of_the_recorded_one() {
    for exchange in recorded().iter().filter(|own| own.status == 200) {
        let original = Response::fold(&events(exchange));
        let written = gemini::encode_whole(&original, &context(Framing::Whole));
        let again = Response::fold(&decode_whole(Format::Gemini, &written, &PLAIN));
        same(&again, &original, &exchange.id);
        let twice = gemini::encode_whole(&again, &context(Framing::Whole));
        assert!(twice == written, "{}: {}", exchange.id, String::from_utf8_lossy(&twice));
    }
}

/// Compares all but citations, of which only Google's contain segments.
fn same(again: &Response, original: &Response, id: &str) {
    let plain = |response: &Response| {
        let mut response = response.clone();
        for block in response.candidates.iter_mut().flat_map(|candidate| &mut candidate.blocks) {
            if let Content::Text { citations, .. } = &mut block.content {
                citations.clear();
            }
            if let Content::ToolCall { arguments, .. } = &mut block.content {
                *arguments = serde_json::from_str::<Value>(arguments).unwrap().to_string();
            }
        }
        response
    };
    assert_eq!(plain(again), plain(original), "{id}");
}

/// Checks the grammar of `wire::ir::Event`.
fn grammar(events: &[Event]) -> Result<(), String> {
    let (mut started, mut over, mut next) = (false, false, 0);
    let (mut open, mut stopped) = (BTreeSet::new(), BTreeSet::new());
    for event in events {
        let kept = match event {
            _ if over => false,
            Event::Ping => true,
            Event::Start { .. } => !std::mem::replace(&mut started, true),
            Event::Fail(_) => {
                over = true;
                true
            }
            _ if !started => false,
            Event::Open { block, candidate, .. } => {
                let kept = *block == next && !stopped.contains(candidate);
                next += 1;
                kept && open.insert(*block)
            }
            Event::Delta { block, .. } => open.contains(block),
            Event::Close { block } => open.remove(block),
            Event::Stop { candidate, .. } => stopped.insert(*candidate),
            Event::End => {
                over = true;
                open.is_empty() && !stopped.is_empty()
            }
            Event::Usage(_) | Event::Tier(_) => true,
        };
        if !kept {
            return Err(format!("{event:?} is not allowed there"));
        }
    }
    Ok(())
}
