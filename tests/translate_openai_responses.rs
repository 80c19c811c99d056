//! Translation from and to OpenAI's Responses, over recorded exchanges.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stderr, reason = "a test reports that it was skipped")]

#[path = "wire_recorded/exchanges.rs"]
mod exchanges;
#[path = "translation/grammar.rs"]
mod grammar;
#[path = "translation/responses_body.rs"]
mod responses_body;

use exchanges::Exchange;
use serde_json::Value;

use keymux::wire::api::{Format, Framing, Operation};
use keymux::wire::format::context::ResponseContext;
use keymux::wire::format::quirks::PLAIN;
use keymux::wire::frame::Frame;
use keymux::wire::frame::sse::{Frame as SseFrame, Sse};
use keymux::wire::inspect::usage::Usage;
use keymux::wire::ir::{Content, Event, Kind, Piece, Request, Response, Stop};
use keymux::wire::translate::{
    Decoder, Encoder, decode_request, decode_whole, encode_request, encode_whole,
};

const OWN: Format = Format::OpenAiResponses;

fn recorded() -> Option<Vec<Exchange>> {
    let is_responses = |exchange: &Exchange| exchange.operation == Operation::Responses;
    Some(exchanges::all(true)?.into_iter().filter(is_responses).collect())
}

fn successful() -> Option<Vec<Exchange>> {
    Some(recorded()?.into_iter().filter(|exchange| exchange.status == 200).collect())
}

/// Returns the name and data of each event of a stream.
fn frames(body: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut frames = Vec::new();
    Sse::new(16 << 20).push(body, |frame| {
        if let SseFrame::Event(event) = frame {
            frames.push((event.name.to_vec(), event.data.trim_ascii().to_vec()));
        }
    });
    frames
}

fn decode(frames: &[(Vec<u8>, Vec<u8>)]) -> Vec<Event> {
    let (mut decoder, mut events) = (Decoder::new(OWN, &PLAIN), Vec::new());
    for (name, data) in frames {
        decoder.frame(Frame::Event { name, data }, &mut events);
    }
    decoder.end(&mut events);
    events
}

fn events(exchange: &Exchange) -> Vec<Event> {
    if exchange.is_stream() {
        decode(&frames(&exchange.body))
    } else {
        decode_whole(OWN, &exchange.body, &PLAIN)
    }
}

fn context() -> ResponseContext {
    ResponseContext {
        id: "0".to_owned(),
        created: 1,
        model: "m".to_owned(),
        usage: true,
        framing: Framing::Events,
        echo: None,
    }
}

fn encode(events: &[Event]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(OWN, context()).unwrap(), Vec::new());
    for event in events {
        encoder.event(event, &mut out);
    }
    out
}

/// Returns the content, the stop and the usage of an answer, with consecutive texts joined. Its id, time and model
/// are left out.
fn meaning(response: &Response) -> (Vec<Content>, Option<Stop>, Usage) {
    let mut contents: Vec<Content> = Vec::new();
    for block in response.candidates.iter().flat_map(|candidate| &candidate.blocks) {
        match (contents.last_mut(), &block.content) {
            (
                Some(Content::Text { text, citations }),
                Content::Text { text: more, citations: also },
            ) => {
                text.push_str(more);
                citations.extend_from_slice(also);
            }
            (_, content) => contents.push(content.clone()),
        }
    }
    let filled = Usage {
        cached_input: response.usage.cached_input.or(Some(0)),
        cache_write: response.usage.cache_write.or(Some(0)),
        reasoning: response.usage.reasoning.or(Some(0)),
        ..response.usage
    };
    let stop = response.candidates.first().and_then(|candidate| candidate.stop);
    (contents, stop, filled)
}

#[test]
fn every_request_means_the_same_after_decoding_and_encoding() {
    let Some(recorded) = recorded() else { return };
    let mut written = 0;
    for exchange in &recorded {
        let Some(body) = &exchange.request else { continue };
        let sent: Value = serde_json::from_slice(body).unwrap();
        let stream = sent["stream"] == true;
        let model = sent["model"].as_str().unwrap();
        let request = decode_request(OWN, body, model, stream)
            .unwrap_or_else(|rejected| panic!("{}: {rejected}", exchange.id));
        let encoded = match encode_request(OWN, OWN, &request, &PLAIN) {
            Ok(encoded) => encoded,
            Err(rejected) => {
                assert_eq!(rejected.at, "/previous_response_id", "{}", exchange.id);
                continue;
            }
        };
        let again: Value = serde_json::from_slice(&encoded.body).unwrap();
        assert_eq!(again["store"], false, "{}", exchange.id);
        let (sent, again) = (responses_body::normal(sent), responses_body::normal(again));
        assert_eq!(sent, again, "{}", exchange.id);
        written += 1;
    }
    assert!(written > 30, "only {written} requests");
}

#[test]
fn every_answer_keeps_to_the_grammar_and_ends() {
    let Some(answered) = successful() else { return };
    assert!(answered.len() > 30, "only {} answers", answered.len());
    for exchange in &answered {
        let events = events(exchange);
        grammar::check(&events).unwrap_or_else(|broken| panic!("{}: {broken}", exchange.id));
        let last = events.last().unwrap();
        if exchange.has("error_in_stream") {
            let Event::Fail(error) = last else { panic!("{}: {last:?}", exchange.id) };
            assert_eq!(error.code.as_deref(), Some("insufficient_quota"));
            continue;
        }
        assert_eq!(*last, Event::End, "{}", exchange.id);
        let response = Response::fold(&events);
        assert!(response.usage.output.is_some(), "{}", exchange.id);
        assert!(response.candidates[0].stop.is_some(), "{}", exchange.id);
    }
}

/// The last event of a stream repeats the whole answer, which must equal the answer of the events before.
#[test]
fn the_events_of_a_stream_contain_what_its_last_event_repeats() {
    let Some(answered) = successful() else { return };
    let mut compared = 0;
    for exchange in answered.iter().filter(|exchange| exchange.is_stream()) {
        let frames = frames(&exchange.body);
        let mut responses = frames.iter().filter_map(|(_, data)| {
            let event: Value = serde_json::from_slice(data).ok()?;
            let ends = ["response.completed", "response.incomplete"];
            ends.contains(&event["type"].as_str()?).then(|| event["response"].clone())
        });
        let Some(response) = responses.next_back() else { continue };
        let whole = decode_whole(OWN, response.to_string().as_bytes(), &PLAIN);
        let (folded, whole) = (Response::fold(&decode(&frames)), Response::fold(&whole));
        let (streamed, repeated) = (meaning(&folded), meaning(&whole));
        assert_eq!((streamed.1, streamed.2), (repeated.1, repeated.2), "{}", exchange.id);
        // Some vendors leave the items out of their last event.
        if !whole.candidates[0].blocks.is_empty() {
            assert_eq!(streamed.0, repeated.0, "{}", exchange.id);
            compared += 1;
        }
    }
    assert!(compared > 10, "only {compared} streams");
}

#[test]
fn a_stream_that_is_cut_has_no_end() {
    let Some(answered) = successful() else { return };
    for exchange in answered.iter().filter(|exchange| exchange.is_stream()) {
        let frames = frames(&exchange.body);
        let end = frames.iter().position(|(_, data)| is_last(data)).unwrap_or(frames.len());
        let (mut decoder, mut events) = (Decoder::new(OWN, &PLAIN), Vec::new());
        let (mut encoder, mut out) = (Encoder::new(OWN, context()).unwrap(), Vec::new());
        for (name, data) in &frames[..end] {
            let before = events.len();
            decoder.frame(Frame::Event { name, data }, &mut events);
            for event in &events[before..] {
                encoder.event(event, &mut out);
            }
        }
        decoder.end(&mut events);
        grammar::check(&events).unwrap_or_else(|broken| panic!("{}: {broken}", exchange.id));
        assert!(!events.contains(&Event::End), "{}", exchange.id);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("event: response.completed"), "{}", exchange.id);
        assert!(!text.contains("event: response.incomplete"), "{}", exchange.id);
    }
}

fn is_last(data: &[u8]) -> bool {
    let event: Value = serde_json::from_slice(data).unwrap_or_default();
    let last = ["response.completed", "response.incomplete", "response.failed", "error"];
    event["type"].as_str().is_some_and(|kind| last.contains(&kind))
}

/// Includes signatures and citations: encoding loses nothing that decoding reads.
#[test]
fn an_answer_means_the_same_after_encoding_and_decoding() {
    let Some(answered) = successful() else { return };
    for exchange in answered.iter().filter(|exchange| !exchange.has("error_in_stream")) {
        let first = Response::fold(&events(exchange));
        let stream = encode(&first.events());
        let again = Response::fold(&decode(&frames(&stream)));
        assert_eq!(meaning(&first), meaning(&again), "{}: streamed", exchange.id);
        let whole = encode_whole(OWN, &first, &context()).unwrap();
        let whole = Response::fold(&decode_whole(OWN, &whole, &PLAIN));
        assert_eq!(meaning(&first), meaning(&whole), "{}: whole", exchange.id);
        let signatures = |response: &Response| -> Vec<_> {
            let blocks = response.candidates.iter().flat_map(|candidate| &candidate.blocks);
            blocks.filter_map(|block| Some(block.signature.clone()?.data)).collect()
        };
        assert_eq!(signatures(&first), signatures(&again), "{}", exchange.id);
        let logprobs = |response: &Response| response.candidates[0].logprobs.clone();
        assert_eq!(logprobs(&first), logprobs(&again), "{}", exchange.id);
    }
}

#[test]
fn a_callers_stream_is_numbered_and_its_last_event_repeats_all_items() {
    let Some(answered) = successful() else { return };
    for exchange in &answered {
        let stream = encode(&events(exchange));
        let all: Vec<Value> = frames(&stream)
            .iter()
            .map(|(name, data)| {
                let event: Value = serde_json::from_slice(data).unwrap();
                assert_eq!(event["type"].as_str().unwrap().as_bytes(), name, "{}", exchange.id);
                event
            })
            .collect();
        for (number, event) in all.iter().enumerate() {
            assert_eq!(event["sequence_number"], number, "{}", exchange.id);
        }
        assert_eq!(all[0]["type"], "response.created", "{}", exchange.id);
        let last = all.last().unwrap();
        let done = all.iter().filter(|event| event["type"] == "response.output_item.done");
        let mut done: Vec<_> = done.map(|event| (&event["output_index"], &event["item"])).collect();
        done.sort_by_key(|(index, _)| index.as_u64());
        let items: Vec<_> = done.into_iter().map(|(_, item)| item.clone()).collect();
        assert_eq!(last["response"]["output"], Value::from(items), "{}", exchange.id);
    }
}

#[test]
fn calls_reasoning_refusals_and_citations_of_the_recordings_are_decoded() {
    let Some(answered) = successful() else { return };
    let (mut calls, mut reasoning, mut signatures, mut refusals, mut foreign, mut cited) =
        (0, 0, 0, 0, 0, 0);
    for exchange in &answered {
        for event in events(exchange) {
            match event {
                Event::Open { kind: Kind::ToolCall { id, .. }, .. } => {
                    assert!(id.is_some(), "{}", exchange.id);
                    calls += 1;
                }
                Event::Open { kind: Kind::Reasoning, .. } => reasoning += 1,
                Event::Open { kind: Kind::Refusal, .. } => refusals += 1,
                Event::Open { kind: Kind::Foreign { .. }, .. } => foreign += 1,
                Event::Delta { piece: Piece::Signature(_), .. } => signatures += 1,
                Event::Delta { piece: Piece::Citation(_), .. } => cited += 1,
                _ => {}
            }
        }
    }
    let seen = [calls, reasoning, signatures, refusals, foreign, cited];
    assert!(seen.iter().all(|count| *count > 1), "{seen:?}");
}

#[test]
fn a_streamed_request_wants_its_usage_and_takes_the_routed_model() {
    let body = br#"{"model":"m","input":"Hello","stream":true}"#;
    let request: Request = decode_request(OWN, body, "other", true).unwrap();
    assert!(request.stream && request.stream_usage);
    assert_eq!(request.model, "other");
}
