//! Recorded answers as events, and what must hold of the events of any.

use keymux::wire::api::{Format, Framing};
use keymux::wire::format::quirks::PLAIN;
use keymux::wire::frame::sse::Sse;
use keymux::wire::frame::{Frame, aws_event_stream, sse};
use keymux::wire::ir::{Content, Event, Kind, Piece, Response};
use keymux::wire::translate::{Decoder, decode_whole};

use crate::exchanges::Exchange;
use crate::grammar;

/// A frame that is held.
pub(crate) struct Kept {
    name: String,
    data: Vec<u8>,
    exception: bool,
}

/// The frames of a stream, cut into chunks of that size.
pub(crate) fn frames(framing: Framing, body: &[u8], size: usize) -> Vec<Kept> {
    let mut kept = Vec::new();
    let (mut events, mut aws) = (Sse::new(1 << 20), aws_event_stream::Frames::new(1 << 20));
    for chunk in body.chunks(size) {
        if framing == Framing::Aws {
            aws.push(chunk, |frame| match frame {
                aws_event_stream::Frame::Event { kind, payload } => kept.push(Kept {
                    name: kind.to_owned(),
                    data: payload.to_vec(),
                    exception: false,
                }),
                aws_event_stream::Frame::Exception { kind, payload } => kept.push(Kept {
                    name: kind.to_owned(),
                    data: payload.to_vec(),
                    exception: true,
                }),
                frame => panic!("{frame:?}"),
            });
        } else {
            events.push(chunk, |frame| {
                let sse::Frame::Event(event) = frame else { panic!("{frame:?}") };
                let name = String::from_utf8(event.name.to_vec()).unwrap();
                kept.push(Kept { name, data: event.data.to_vec(), exception: false });
            });
        }
    }
    kept
}

/// The events of these frames; `ended`: the stream ends in order behind them.
pub(crate) fn events(format: Format, frames: &[Kept], ended: bool) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::new(format, &PLAIN), Vec::new());
    for Kept { name, data, exception } in frames {
        let frame = if *exception {
            Frame::Exception { kind: name, payload: data }
        } else {
            Frame::Event { name: name.as_bytes(), data }
        };
        decoder.frame(frame, &mut out);
    }
    if ended {
        decoder.end(&mut out);
    }
    out
}

/// What must hold of every recorded answer of a format; gives its events.
pub(crate) fn hold(format: Format, exchange: &Exchange) -> Vec<Event> {
    let id = &exchange.id;
    if !exchange.is_stream() {
        let events = decode_whole(format, &exchange.body, &PLAIN);
        grammar::check(&events).unwrap_or_else(|broken| panic!("{id}: {broken}"));
        return events;
    }
    let framing = exchange.framing();
    let kept = frames(framing, &exchange.body, exchange.body.len());
    let whole = events(format, &kept, true);
    grammar::check(&whole).unwrap_or_else(|broken| panic!("{id}: {broken}"));
    for size in [1, 7, 100] {
        assert_eq!(events(format, &frames(framing, &exchange.body, size), true), whole, "{id}");
    }
    let end = whole.iter().position(|event| *event == Event::End).unwrap();
    for cut in 0..kept.len() {
        let some = events(format, &kept[..cut], false);
        grammar::check(&some).unwrap_or_else(|broken| panic!("{id}, cut at {cut}: {broken}"));
        assert_eq!(some.contains(&Event::End), some.len() > end, "{id}, cut at {cut}");
    }
    whole
}

/// The text of an answer, thoughts left out.
#[allow(dead_code, reason = "each test reads what it needs")]
pub(crate) fn text(reply: &Response) -> String {
    let blocks = reply.candidates.iter().flat_map(|own| &own.blocks);
    blocks
        .filter_map(|block| match &block.content {
            Content::Text { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

/// Names and arguments of the calls.
#[allow(dead_code, reason = "each test reads what it needs")]
pub(crate) fn calls(reply: &Response) -> Vec<(String, String)> {
    let blocks = reply.candidates.iter().flat_map(|own| &own.blocks);
    blocks
        .filter_map(|block| match &block.content {
            Content::ToolCall { name, arguments, .. } => Some((name.clone(), arguments.clone())),
            _ => None,
        })
        .collect()
}

/// A call as a stream tells it.
#[allow(dead_code, reason = "each test reads what it needs")]
pub(crate) fn opened(block: u32, id: Option<&str>, name: &str) -> Event {
    let kind = Kind::ToolCall { id: id.map(str::to_owned), name: name.to_owned() };
    Event::Open { block, candidate: 0, kind }
}

/// More text of a block.
#[allow(dead_code, reason = "each test reads what it needs")]
pub(crate) fn more(block: u32, text: &str) -> Event {
    Event::Delta { block, piece: Piece::Text(text.to_owned()) }
}
