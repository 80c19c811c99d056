//! The bodies of the fuzz targets. `cargo fuzz run NAME` finds inputs for them, `tests/fuzz_replay.rs` runs
//! them over a corpus made of recorded exchanges and damage to these.
//!
//! A target panics when a rule is broken, and takes any bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is what a target is for")]

// The grammar of events is held in one place, for tests and targets.
#[path = "../../tests/translation/grammar.rs"]
mod grammar;

use bytes::Bytes;

use keymux::upstream::redact::redact;
use keymux::wire::api::{Api, Format, Framing, routes};
use keymux::wire::failure::classify::classify;
use keymux::wire::format::context::ResponseContext;
use keymux::wire::format::quirks::PLAIN;
use keymux::wire::frame::json_array::{Element, Elements};
use keymux::wire::frame::sse::Sse;
use keymux::wire::frame::{Frame, aws_event_stream, sse};
use keymux::wire::ir::{Event, Response};
use keymux::wire::translate::{
    Decoder, Encoder, decode_request, decode_whole, encode_request, encode_whole,
};

/// Something that takes any bytes.
pub type Target = fn(&[u8]);

/// All of them, by name. Each has a file in `fuzz_targets`.
pub const TARGETS: &[(&str, Target)] = &[
    ("stream_openai_chat", |data| stream(Format::OpenAiChat, data)),
    ("stream_openai_responses", |data| stream(Format::OpenAiResponses, data)),
    ("stream_anthropic", |data| stream(Format::Anthropic, data)),
    ("stream_gemini", |data| stream(Format::Gemini, data)),
    ("stream_bedrock", |data| stream(Format::Bedrock, data)),
    ("stream_cohere", |data| stream(Format::Cohere, data)),
    ("stream_replicate", |data| stream(Format::Replicate, data)),
    ("whole_openai_chat", |data| whole(Format::OpenAiChat, data)),
    ("whole_openai_responses", |data| whole(Format::OpenAiResponses, data)),
    ("whole_anthropic", |data| whole(Format::Anthropic, data)),
    ("whole_gemini", |data| whole(Format::Gemini, data)),
    ("whole_bedrock", |data| whole(Format::Bedrock, data)),
    ("whole_cohere", |data| whole(Format::Cohere, data)),
    ("whole_replicate", |data| whole(Format::Replicate, data)),
    ("request_openai_chat", |data| request(Format::OpenAiChat, data)),
    ("request_openai_responses", |data| request(Format::OpenAiResponses, data)),
    ("request_anthropic", |data| request(Format::Anthropic, data)),
    ("request_gemini", |data| request(Format::Gemini, data)),
    ("request_bedrock", |data| request(Format::Bedrock, data)),
    ("frames_sse", |data| frames(data, sse_frames)),
    ("frames_array", |data| frames(data, array_frames)),
    ("frames_aws", |data| frames(data, aws_frames)),
    ("hints", hints),
    ("paths", paths),
    ("redactor", redactor),
];

/// Runs a target by its name.
pub fn run(name: &str, data: &[u8]) {
    TARGETS.iter().find(|(own, _)| *own == name).unwrap().1(data);
}

/// The name of the targets for a format.
pub fn name(what: &str, format: Format) -> String {
    format!("{what}_{}", format.name().replace('-', "_"))
}

/// How a caller's stream is framed.
const CALLERS: [(Format, Framing); 6] = [
    (Format::OpenAiChat, Framing::Events),
    (Format::OpenAiResponses, Framing::Events),
    (Format::Anthropic, Framing::Events),
    (Format::Gemini, Framing::Events),
    (Format::Gemini, Framing::Array),
    (Format::Bedrock, Framing::Aws),
];

fn shown(framing: Framing) -> ResponseContext {
    let (id, model) = ("made".to_owned(), "asked".to_owned());
    ResponseContext { id, created: 1, model, usage: true, framing, echo: None }
}

/// A stream as lines: the name of an event, a tab and its data; of an exception with a `!` before it.
fn stream(format: Format, data: &[u8]) {
    let (mut decoder, mut events) = (Decoder::new(format, &PLAIN), Vec::new());
    for line in data.split(|byte| *byte == b'\n') {
        let tab = line.iter().position(|byte| *byte == b'\t');
        let (name, data) = tab.map_or((&b""[..], line), |at| (&line[..at], &line[at + 1..]));
        let exception = name.strip_prefix(b"!").and_then(|kind| std::str::from_utf8(kind).ok());
        decoder.frame(
            match exception {
                Some(kind) => Frame::Exception { kind, payload: data },
                None => Frame::Event { name, data },
            },
            &mut events,
        );
    }
    decoder.end(&mut events);
    hold(&events);
    for (caller, framing) in CALLERS {
        let mut encoder = Encoder::new(caller, shown(framing)).unwrap();
        let mut out = Vec::new();
        for event in &events {
            encoder.event(event, &mut out);
        }
    }
}

/// A whole answer.
fn whole(format: Format, data: &[u8]) {
    let events = decode_whole(format, data, &PLAIN);
    hold(&events);
    assert!(matches!(events.last(), Some(Event::End | Event::Fail(_))), "{:?}", events.last());
    let reply = Response::fold(&events);
    for (caller, _) in CALLERS {
        let body = encode_whole(caller, &reply, &shown(Framing::Whole)).unwrap();
        serde_json::from_slice::<serde_json::Value>(&body).unwrap();
    }
}

fn hold(events: &[Event]) {
    grammar::check(events).unwrap_or_else(|broken| panic!("{broken} of {events:#?}"));
}

/// A caller's request, which may be refused, but says where; and what is written of it is JSON.
fn request(format: Format, data: &[u8]) {
    let Ok(request) = decode_request(format, data, "m", false) else { return };
    for provider in Format::ALL {
        match encode_request(provider, format, &request, &PLAIN) {
            Ok(encoded) => {
                serde_json::from_slice::<serde_json::Value>(&encoded.body).unwrap();
            }
            Err(refused) => assert!(!refused.why.is_empty()),
        }
    }
}

type Framed = Vec<(Vec<u8>, Vec<u8>)>;

/// The same frames come of the same bytes, however they are cut.
fn frames(data: &[u8], read: fn(&mut dyn Iterator<Item = &[u8]>) -> Framed) {
    let whole = read(&mut std::iter::once(data));
    for size in [1, 2, 7, 100] {
        assert!(read(&mut data.chunks(size)) == whole, "in pieces of {size}");
    }
}

/// More than any event of the corpus, so that none is told in pieces.
const LONGEST: usize = 1 << 24;

fn sse_frames(chunks: &mut dyn Iterator<Item = &[u8]>) -> Framed {
    let (mut sse, mut out) = (Sse::new(LONGEST), Vec::new());
    chunks.for_each(|chunk| {
        sse.push(chunk, |frame| {
            if let sse::Frame::Event(event) = frame {
                out.push((event.name.to_vec(), event.data.to_vec()));
            }
        });
    });
    out
}

fn array_frames(chunks: &mut dyn Iterator<Item = &[u8]>) -> Framed {
    let (mut elements, mut out) = (Elements::new(LONGEST), Vec::new());
    chunks.for_each(|chunk| {
        elements.push(chunk, |element| {
            if let Element::Whole(data) = element {
                out.push((Vec::new(), data.to_vec()));
            }
        });
    });
    out
}

fn aws_frames(chunks: &mut dyn Iterator<Item = &[u8]>) -> Framed {
    let (mut frames, mut out) = (aws_event_stream::Frames::new(LONGEST), Vec::new());
    chunks.for_each(|chunk| {
        frames.push(chunk, |frame| {
            out.push(match frame {
                aws_event_stream::Frame::Event { kind, payload } => {
                    (kind.as_bytes().to_vec(), payload.to_vec())
                }
                other => (format!("{other:?}").into_bytes(), Vec::new()),
            });
        });
    });
    out
}

/// A status, and lines that are headers up to an empty one; the body behind.
fn hints(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (head, body) = text.split_once("\n\n").unwrap_or((&*text, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.parse().ok()).unwrap_or(429);
    let headers: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
    let header = |name: &str| headers.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
    for api in [Api::OpenAi, Api::Anthropic, Api::Gemini, Api::Bedrock, Api::Cohere, Api::Replicate]
    {
        let failure = classify(api, status, body.as_bytes(), &header);
        let wait = failure.retry_after;
        assert!(wait.is_none_or(|wait| !wait.is_zero() && wait.as_secs() <= 3600), "{wait:?}");
    }
}

/// A path that a caller asks for, and a model's name as one segment of ours.
fn paths(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = (routes::find(&text), routes::api_of(&text));
    if let Some(segment) = keymux::upstream::segment(&text) {
        let plain =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%:@!$&'()*+,;=".contains(&byte);
        assert!(segment.bytes().all(plain), "{segment}");
        assert!(!matches!(&*segment, "" | "." | ".."), "{segment}");
        let again = percent(&segment);
        assert!(again == text.as_bytes(), "{segment}");
    }
}

/// What a segment stands for.
fn percent(segment: &str) -> Vec<u8> {
    let (mut out, mut bytes) = (Vec::new(), segment.bytes());
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
        } else {
            byte
        });
    }
    out
}

/// A secret, a line's end and a body: no six bytes of the secret are left.
fn redactor(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (secret, body) = (&data[..end], &data[end + 1..]);
    // What stands in place of a secret may come out as a part of one that has stars.
    if secret.contains(&b'*') {
        return;
    }
    let out = redact(secret, Bytes::copy_from_slice(body));
    let left = secret.windows(6).find(|piece| out.windows(6).any(|window| window == *piece));
    assert!(left.is_none(), "{:?} is left", left.map(String::from_utf8_lossy));
}
