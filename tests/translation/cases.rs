//! Answers of providers, recorded and our own, and how they are read and passed on.

use keymux::provider::Kind;
use keymux::wire::Operation;
use keymux::wire::failure::{Class, Failure};
use keymux::wire::frame::array::{Element, Elements};
use keymux::wire::frame::aws;
use keymux::wire::frame::sse::{self, Sse};
use keymux::wire::ir::{Block, Candidate, Content, Event, Reply, Request, Seal, Stop, Told, Usage};
use keymux::wire::listen::Framing;
use keymux::wire::quirks::{COMPATIBLE, PLAIN, Quirks};
use keymux::wire::translate::{
    Decoder, Encoder, Frame, Shown, Translation, Wire, decode_request, decode_whole, encode_whole,
};
use serde_json::Value;

use crate::exchanges::{self, Exchange};

/// An answer in a provider's format.
pub(crate) struct Answer {
    pub(crate) id: String,
    pub(crate) wire: Wire,
    pub(crate) framing: Framing,
    pub(crate) body: Vec<u8>,
    pub(crate) quirks: &'static Quirks,
}

/// How each caller format may be framed as a stream.
pub(crate) const CALLERS: [(Wire, Framing); 6] = [
    (Wire::OpenAiChat, Framing::Events),
    (Wire::OpenAiResponses, Framing::Events),
    (Wire::Anthropic, Framing::Events),
    (Wire::Gemini, Framing::Events),
    (Wire::Gemini, Framing::Array),
    (Wire::Bedrock, Framing::Aws),
];

/// All exchanges in a format that is translated, with it.
pub(crate) fn exchanges() -> Vec<(Wire, Exchange)> {
    let all = [true, false].into_iter().filter_map(exchanges::all).flatten();
    let own = all.filter_map(|exchange| {
        let wire = match exchange.operation {
            Operation::RawPredict | Operation::StreamRawPredict => Wire::Anthropic,
            operation => Wire::of(operation)?,
        };
        Some((wire, exchange))
    });
    own.collect()
}

/// Every answer, the recorded ones behind our own.
pub(crate) fn answers() -> Vec<Answer> {
    let recorded = exchanges().into_iter().filter(|(_, exchange)| exchange.status < 300);
    let recorded = recorded.map(|(wire, exchange)| {
        let provider = exchange.id.split('/').next().unwrap();
        let quirks = Kind::from_name(provider).map_or(&COMPATIBLE, |kind| kind.info().quirks);
        let framing = exchange.framing();
        Answer { id: exchange.id, wire, framing, body: exchange.body, quirks }
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
        for (wire, framing) in CALLERS {
            let mut encoder = Encoder::new(wire, shown(framing)).unwrap();
            let mut body = Vec::new();
            reply.events().iter().for_each(|event| encoder.event(event, &mut body));
            let id = format!("own/{name}/{}/{framing:?}", wire.name());
            all.push(Answer { id, wire, framing, body, quirks: &PLAIN });
            if framing != Framing::Array && reply.failed.is_none() {
                let body = encode_whole(wire, &reply, &shown(Framing::Whole)).unwrap();
                let id = format!("own/{name}/{}/whole", wire.name());
                all.push(Answer { id, wire, framing: Framing::Whole, body, quirks: &PLAIN });
            }
        }
    }
    all
}

fn replies() -> Vec<(&'static str, Reply)> {
    let call = |id: &str, name: &str, arguments: &str| Content::Call {
        id: Some(id.to_owned()),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let text = Content::text;
    let thought = || Content::Thought { text: "Let me\n\u{1f914} see.".to_owned() };
    let odd = "\u{0}\u{1f600}\u{4e2d}\"\\\n\r\u{2028} data: [DONE]\n\n";
    let mut cut = reply(vec![text("so f")], Stop::End);
    cut.candidates[0].stop = None;
    cut.ended = false;
    cut.failed = Some(Told {
        failure: Failure { class: Class::Throttled, retry_after: None },
        status: Some(429),
        kind: None,
        code: None,
        param: None,
        message: "no more today".to_owned(),
    });
    let mut sealed = reply(vec![thought(), text("yes")], Stop::End);
    let data = "c2VhbA==".to_owned();
    sealed.candidates[0].blocks[0].seal = Some(Seal { wire: Wire::Anthropic, data, id: None });
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

fn reply(content: Vec<Content>, stop: Stop) -> Reply {
    let blocks = content.into_iter().map(|content| Block::new(content, "")).collect();
    let candidate = Candidate { blocks, stop: Some(stop), ..Candidate::default() };
    Reply {
        id: Some("own_1".to_owned()),
        model: Some("own".to_owned()),
        created: Some(1),
        candidates: vec![candidate],
        usage: Usage { input: Some(11), output: Some(7), ..Usage::default() },
        ended: true,
        ..Reply::default()
    }
}

/// What an answer shows that is not the provider's.
pub(crate) fn shown(framing: Framing) -> Shown {
    Shown {
        id: "made".to_owned(),
        created: 1,
        model: "asked".to_owned(),
        usage: true,
        framing,
        echo: None,
    }
}

/// The way of an answer to a caller.
pub(crate) fn way(answer: &Answer, (caller, framing): (Wire, Framing)) -> Translation {
    let decoder = Decoder::new(answer.wire, answer.quirks);
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
pub(crate) fn frames(wire: Wire, framing: Framing, body: &[u8]) -> Vec<Kept> {
    let mut kept = Vec::new();
    let mut keep = |name: &[u8], data: &[u8], exception| {
        let data = if wire == Wire::Replicate { data } else { data.trim_ascii() };
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
        Framing::Aws => aws::Frames::new(1 << 24).push(body, |frame| match frame {
            aws::Frame::Event { kind, payload } => keep(kind.as_bytes(), payload, false),
            aws::Frame::Exception { kind, payload } => keep(kind.as_bytes(), payload, true),
            frame => panic!("{frame:?}"),
        }),
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
pub(crate) fn events(wire: Wire, quirks: &'static Quirks, frames: &[Kept]) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::new(wire, quirks), Vec::new());
    for kept in frames {
        tell(&mut decoder, kept, &mut out);
    }
    decoder.end(&mut out);
    out
}

/// The events of an answer.
pub(crate) fn told(answer: &Answer) -> Vec<Event> {
    if answer.framing.is_stream() {
        events(answer.wire, answer.quirks, &frames(answer.wire, answer.framing, &answer.body))
    } else {
        decode_whole(answer.wire, &answer.body, answer.quirks)
    }
}

/// A caller's request as it was recorded, read.
pub(crate) fn requests() -> Vec<(String, Wire, Request)> {
    let all = exchanges().into_iter().filter(|(wire, exchange)| {
        // What the API itself refuses need not be said to another.
        Wire::OF_CALLERS.contains(wire) && exchange.status < 300
    });
    let read = all.filter_map(|(wire, exchange)| {
        let body = exchange.request.as_deref()?;
        let value: Value = serde_json::from_slice(body).ok()?;
        let model = value["model"].as_str().unwrap_or("m");
        let stream = exchange.is_stream();
        match decode_request(wire, body, model, stream) {
            Ok(request) => Some((exchange.id, wire, request)),
            Err(refused) => panic!("{}: {refused}", exchange.id),
        }
    });
    read.collect()
}
