//! Answers of providers, recorded and our own, and how they are read and passed on.

use serde_json::Value;

use keymux::provider::Kind;
use keymux::wire::api::{Format, Framing, Operation};
use keymux::wire::failure::ProviderError;
use keymux::wire::failure::class::{Class, Failure};
use keymux::wire::format::context::ResponseContext;
use keymux::wire::format::quirks::{COMPATIBLE, PLAIN, Quirks};
use keymux::wire::frame::json_array::{Element, Elements};
use keymux::wire::frame::sse::Sse;
use keymux::wire::frame::{Frame, aws_event_stream, sse};
use keymux::wire::inspect::usage::Usage;
use keymux::wire::ir::{Block, Candidate, Content, Event, Request, Response, Signature, Stop};
use keymux::wire::translate::{
    Decoder, Encoder, Translation, decode_request, decode_whole, encode_whole,
};

use crate::exchanges::{self, Exchange};

/// An answer in a provider's format.
pub(crate) struct Answer {
    pub(crate) id: String,
    pub(crate) format: Format,
    pub(crate) framing: Framing,
    pub(crate) body: Vec<u8>,
    pub(crate) quirks: &'static Quirks,
}

/// How each caller format may be framed as a stream.
pub(crate) const CALLERS: [(Format, Framing); 6] = [
    (Format::OpenAiChat, Framing::Events),
    (Format::OpenAiResponses, Framing::Events),
    (Format::Anthropic, Framing::Events),
    (Format::Gemini, Framing::Events),
    (Format::Gemini, Framing::Array),
    (Format::Bedrock, Framing::Aws),
];

/// All exchanges in a format that is translated, with it.
pub(crate) fn exchanges() -> Vec<(Format, Exchange)> {
    let all = [true, false].into_iter().filter_map(exchanges::all).flatten();
    let own = all.filter_map(|exchange| {
        let format = match exchange.operation {
            Operation::RawPredict | Operation::StreamRawPredict => Format::Anthropic,
            operation => Format::of(operation)?,
        };
        Some((format, exchange))
    });
    own.collect()
}

/// Every answer, the recorded ones behind our own.
pub(crate) fn answers() -> Vec<Answer> {
    let recorded = exchanges().into_iter().filter(|(_, exchange)| exchange.status < 300);
    let recorded = recorded.map(|(format, exchange)| {
        let provider = exchange.id.split('/').next().unwrap();
        let quirks = Kind::from_name(provider).map_or(&COMPATIBLE, |kind| kind.info().quirks);
        let framing = exchange.framing();
        Answer { id: exchange.id, format, framing, body: exchange.body, quirks }
    });
    own().into_iter().chain(recorded).collect()
}

/// Those that come event by event.
pub(crate) fn streams() -> Vec<Answer> {
    answers().into_iter().filter(|answer| answer.framing.is_stream()).collect()
}

/// Our own answers, in each format that can be written here, streamed and whole.
fn own() -> Vec<Answer> {
    let mut all = Vec::new();
    for (name, reply) in replies() {
        for (format, framing) in CALLERS {
            let mut encoder = Encoder::new(format, shown(framing)).unwrap();
            let mut body = Vec::new();
            reply.events().iter().for_each(|event| encoder.event(event, &mut body));
            let id = format!("own/{name}/{}/{framing:?}", format.name());
            all.push(Answer { id, format, framing, body, quirks: &PLAIN });
            if framing != Framing::Array && reply.failed.is_none() {
                let body = encode_whole(format, &reply, &shown(Framing::Whole)).unwrap();
                let id = format!("own/{name}/{}/whole", format.name());
                all.push(Answer { id, format, framing: Framing::Whole, body, quirks: &PLAIN });
            }
        }
    }
    all
}

fn replies() -> Vec<(&'static str, Response)> {
    let call = |id: &str, name: &str, arguments: &str| Content::ToolCall {
        id: Some(id.to_owned()),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let text = Content::text;
    let thought = || Content::Reasoning { text: "Let me\n\u{1f914} see.".to_owned() };
    let odd = "\u{0}\u{1f600}\u{4e2d}\"\\\n\r\u{2028} data: [DONE]\n\n";
    let mut cut = reply(vec![text("so f")], Stop::End);
    cut.candidates[0].stop = None;
    cut.ended = false;
    cut.failed = Some(ProviderError {
        failure: Failure { class: Class::Throttled, retry_after: None },
        status: Some(429),
        kind: None,
        code: None,
        param: None,
        message: "no more today".to_owned(),
    });
    let mut sealed = reply(vec![thought(), text("yes")], Stop::End);
    let data = "c2VhbA==".to_owned();
    sealed.candidates[0].blocks[0].signature =
        Some(Signature { format: Format::Anthropic, data, id: None });
    vec![
        ("text", reply(vec![text("One, two.")], Stop::End)),
        ("odd text", reply(vec![text(odd)], Stop::End)),
        ("nothing", reply(Vec::new(), Stop::End)),
        ("cut by length", reply(vec![text("One, tw")], Stop::Length)),
        ("filtered", reply(vec![text("One")], Stop::Filter)),
        ("refusal", reply(vec![Content::Refusal("I will not.".to_owned())], Stop::Refusal)),
        ("sealed thought", sealed),
        ("call", reply(vec![call("call_1", "f", r#"{"a":1}"#)], Stop::Calls)),
        ("call of nothing", reply(vec![call("call_1", "f", "{}")], Stop::Calls)),
        (
            "thought, text, two calls",
            reply(
                vec![
                    thought(),
                    text("Both."),
                    call("call_1", "f", r#"{"a":{"b":["\u00e9",1.5,null]}}"#),
                    call("call_2", "f", r#"{"a":2}"#),
                ],
                Stop::Calls,
            ),
        ),
        ("failed", cut),
    ]
}

fn reply(content: Vec<Content>, stop: Stop) -> Response {
    let blocks = content.into_iter().map(|content| Block::new(content, "")).collect();
    let candidate = Candidate { blocks, stop: Some(stop), ..Candidate::default() };
    Response {
        id: Some("own_1".to_owned()),
        model: Some("own".to_owned()),
        created: Some(1),
        candidates: vec![candidate],
        usage: Usage { input: Some(11), output: Some(7), ..Usage::default() },
        ended: true,
        ..Response::default()
    }
}

/// What an answer shows that is not the provider's.
pub(crate) fn shown(framing: Framing) -> ResponseContext {
    ResponseContext {
        id: "made".to_owned(),
        created: 1,
        model: "asked".to_owned(),
        usage: true,
        framing,
        echo: None,
    }
}

/// The way of an answer to a caller.
pub(crate) fn way(answer: &Answer, (caller, framing): (Format, Framing)) -> Translation {
    let decoder = Decoder::new(answer.format, answer.quirks);
    let encoder = Encoder::new(caller, shown(framing)).unwrap();
    Translation::new(answer.framing, framing, decoder, encoder, None).unwrap()
}

/// A frame that is held.
pub(crate) struct Kept {
    pub(crate) name: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) exception: bool,
}

/// The frames of a stream.
pub(crate) fn frames(format: Format, framing: Framing, body: &[u8]) -> Vec<Kept> {
    let mut kept = Vec::new();
    let mut keep = |name: &[u8], data: &[u8], exception| {
        let data = if format == Format::Replicate { data } else { data.trim_ascii() };
        kept.push(Kept { name: name.to_vec(), data: data.to_vec(), exception });
    };
    match framing {
        Framing::Events => Sse::new(1 << 24).push(body, |frame| {
            let sse::Frame::Event(event) = frame else { panic!("no event is that long") };
            keep(event.name, &event.data, false);
        }),
        Framing::Array => Elements::new(1 << 24).push(body, |element| {
            let Element::Whole(data) = element else { panic!("no element is that long") };
            keep(b"", data, false);
        }),
        Framing::Aws => {
            aws_event_stream::FrameDecoder::new(1 << 24).push(body, |frame| match frame {
                aws_event_stream::Frame::Event { kind, payload } => {
                    keep(kind.as_bytes(), payload, false);
                }
                aws_event_stream::Frame::Exception { kind, payload } => {
                    keep(kind.as_bytes(), payload, true);
                }
                frame => panic!("{frame:?}"),
            });
        }
        Framing::Whole => panic!("that is no stream"),
    }
    kept
}

/// Gives a frame to a decoder.
pub(crate) fn tell(decoder: &mut Decoder, kept: &Kept, out: &mut Vec<Event>) {
    let Kept { name, data, exception } = kept;
    let frame = match std::str::from_utf8(name) {
        Ok(kind) if *exception => Frame::Exception { kind, payload: data },
        _ => Frame::Event { name, data },
    };
    decoder.frame(frame, out);
}

/// The events of a stream that ends in order behind these frames.
pub(crate) fn events(format: Format, quirks: &'static Quirks, frames: &[Kept]) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::new(format, quirks), Vec::new());
    for kept in frames {
        tell(&mut decoder, kept, &mut out);
    }
    decoder.end(&mut out);
    out
}

/// The events of an answer.
pub(crate) fn told(answer: &Answer) -> Vec<Event> {
    if answer.framing.is_stream() {
        events(answer.format, answer.quirks, &frames(answer.format, answer.framing, &answer.body))
    } else {
        decode_whole(answer.format, &answer.body, answer.quirks)
    }
}

/// A caller's request as it was recorded, read.
pub(crate) fn requests() -> Vec<(String, Format, Request)> {
    let all = exchanges().into_iter().filter(|(format, exchange)| {
        // What the API itself refuses need not be said to another.
        Format::CALLER_FORMATS.contains(format) && exchange.status < 300
    });
    let read = all.filter_map(|(format, exchange)| {
        let body = exchange.request.as_deref()?;
        let value: Value = serde_json::from_slice(body).ok()?;
        let model = value["model"].as_str().unwrap_or("m");
        let stream = exchange.is_stream();
        match decode_request(format, body, model, stream) {
            Ok(request) => Some((exchange.id, format, request)),
            Err(refused) => panic!("{}: {refused}", exchange.id),
        }
    });
    read.collect()
}
