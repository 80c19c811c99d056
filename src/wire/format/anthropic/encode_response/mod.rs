//! Making a stream for a caller.
//!
//! The API streams one block after another, numbered from 0. Other formats have several open at once: a text
//! or a thought is closed when the next block begins, and goes on as another one if more of it comes; what
//! begins beside a call waits until that is whole, so that no call falls into pieces.

pub(crate) mod block;
pub(crate) mod whole;

use std::collections::VecDeque;

use crate::wire::failure::ProviderError;
use crate::wire::failure::class::{Class, Failure};
use crate::wire::format::context::ResponseContext;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::{Event, Kind, Piece, Stop};

use self::block::Writing;
use super::stop_reason;
use crate::wire::json::write::{Object, put};

/// What is held of blocks that wait for a call to be whole.
const MOST_WAITING: usize = 16 << 20;

/// Makes a stream for the caller.
#[derive(Debug)]
pub struct Encoder {
    shown: ResponseContext,
    /// The number of the next block of the stream.
    next: u32,
    /// How many calls have been written.
    calls: u32,
    refused: bool,
    current: Option<Box<Writing>>,
    waiting: VecDeque<Waiting>,
    held: usize,
    /// What each block is that was closed before it was whole.
    parted: Vec<(u32, Kind)>,
    usage: Usage,
    stopped: Option<(Stop, Option<String>)>,
    over: bool,
}

/// A block that began beside a call.
#[derive(Debug)]
struct Waiting {
    block: u32,
    kind: Kind,
    pieces: Vec<Piece>,
    closed: bool,
}

impl Encoder {
    /// Of an answer that shows this.
    pub fn new(shown: ResponseContext) -> Encoder {
        Encoder {
            shown,
            next: 0,
            calls: 0,
            refused: false,
            current: None,
            waiting: VecDeque::new(),
            held: 0,
            parted: Vec::new(),
            usage: Usage::default(),
            stopped: None,
            over: false,
        }
    }

    /// Writes an event.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        match event {
            Event::Start { id, model, .. } => self.start(id.as_deref(), model.as_deref(), out),
            // The format has one answer; and `service_tier` stands in the usage of its beginning, where it
            // is not known yet.
            Event::Open { candidate: 1.., .. }
            | Event::Stop { candidate: 1.., .. }
            | Event::Tier(_) => {}
            Event::Open { block, kind, .. } => self.open(*block, kind, out),
            Event::Delta { block, piece } => self.delta(*block, piece, out),
            Event::Close { block } => self.close(*block, out),
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Stop { why, sequence, .. } => self.stopped = Some((*why, sequence.clone())),
            Event::End => {
                self.finish(out);
                self.over = true;
            }
            Event::Fail(told) => self.fail(told, out),
            Event::Ping => framed("ping", out, |_| {}),
        }
    }

    /// `input_tokens` must be a number, and the true one comes at the end: the official clients take it from
    /// `message_delta` when it stands there.
    fn start(&mut self, id: Option<&str>, model: Option<&str>, out: &mut Vec<u8>) {
        let Self { shown, usage, .. } = self;
        framed("message_start", out, |event| {
            let mut message = event.object("message");
            whole::head(&mut message, id, model, shown);
            message.raw("content", "[]").raw("stop_reason", "null").raw("stop_sequence", "null");
            whole::usage(message.object("usage"), usage, None);
            message.end();
        });
    }

    fn open(&mut self, block: u32, kind: &Kind, out: &mut Vec<u8>) {
        if let Some(current) = &self.current {
            if current.is_call() || !self.waiting.is_empty() {
                self.wait(block, kind);
                return;
            }
            self.part(out);
        }
        self.begin(block, kind, out);
    }

    /// Closes the current block before it is whole.
    fn part(&mut self, out: &mut Vec<u8>) {
        if let Some(current) = self.current.take() {
            let (block, kind) = current.end(&mut self.next, out);
            // A format has a handful of blocks open; more would be forgotten from the front.
            if self.parted.len() >= 64 {
                self.parted.remove(0);
            }
            self.parted.push((block, kind));
        }
    }

    fn begin(&mut self, block: u32, kind: &Kind, out: &mut Vec<u8>) {
        self.refused |= *kind == Kind::Refusal;
        self.calls += u32::from(matches!(kind, Kind::ToolCall { .. }));
        let Self { shown, calls, next, .. } = self;
        self.current = Writing::begin(block, kind, shown, *calls, next, out).map(Box::new);
    }

    fn wait(&mut self, block: u32, kind: &Kind) {
        let kind = kind.clone();
        self.waiting.push_back(Waiting { block, kind, pieces: Vec::new(), closed: false });
    }

    fn delta(&mut self, block: u32, piece: &Piece, out: &mut Vec<u8>) {
        if let Some(current) = self.current.as_mut().filter(|own| own.block() == block) {
            current.piece(piece, &mut self.next, out);
        } else if let Some(waiting) = self.waiting.iter_mut().find(|own| own.block == block) {
            self.held += waiting.take(piece);
            if self.held > MOST_WAITING {
                self.fail(&too_much(), out);
            }
        } else if let Some(place) = self.parted.iter().position(|(own, _)| *own == block) {
            let kind = self.parted.remove(place).1;
            self.open(block, &kind, out);
            self.delta(block, piece, out);
        }
    }

    fn close(&mut self, block: u32, out: &mut Vec<u8>) {
        self.parted.retain(|(own, _)| *own != block);
        if let Some(waiting) = self.waiting.iter_mut().find(|own| own.block == block) {
            waiting.closed = true;
        }
        if self.current.as_ref().is_some_and(|own| own.block() == block) {
            if let Some(current) = self.current.take() {
                current.end(&mut self.next, out);
            }
            self.go_on(out);
        }
    }

    /// Writes the blocks that have waited.
    fn go_on(&mut self, out: &mut Vec<u8>) {
        while let Some(waiting) = self.waiting.pop_front() {
            self.begin(waiting.block, &waiting.kind, out);
            for piece in &waiting.pieces {
                if let Some(current) = &mut self.current {
                    current.piece(piece, &mut self.next, out);
                }
            }
            if !waiting.closed && self.current.is_some() {
                if self.waiting.is_empty() || self.current.as_deref().is_some_and(Writing::is_call)
                {
                    break;
                }
                self.part(out);
            } else if let Some(current) = self.current.take() {
                current.end(&mut self.next, out);
            }
        }
        if self.waiting.is_empty() {
            self.held = 0;
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let (why, sequence) = self.stopped.take().unwrap_or((Stop::Other, None));
        let reason = whole::stop_reason(why, self.refused, self.calls > 0);
        let usage = self.usage;
        framed("message_delta", out, |event| {
            let mut delta = event.object("delta");
            delta.put("stop_reason", reason).put("stop_sequence", &sequence);
            delta.end();
            whole::last_usage(event.object("usage"), &usage);
        });
        framed("message_stop", out, |_| {});
    }

    fn fail(&mut self, told: &ProviderError, out: &mut Vec<u8>) {
        self.over = true;
        framed("error", out, |event| {
            let mut error = event.object("error");
            error.put("type", stop_reason::error_type(told)).put("message", &told.message);
            error.end();
        });
    }
}

impl Waiting {
    /// Takes a piece, and says how many bytes that is, roughly.
    fn take(&mut self, piece: &Piece) -> usize {
        match (piece, self.pieces.last_mut()) {
            (Piece::Text(more), Some(Piece::Text(text))) => {
                text.push_str(more);
                more.len()
            }
            (Piece::Logprobs(_), _) => 0,
            (piece, _) => {
                self.pieces.push(piece.clone());
                match piece {
                    Piece::Text(text) => text.len(),
                    Piece::Signature(signature) => signature.data.len(),
                    Piece::Citation(_) | Piece::Logprobs(_) => 1024,
                }
            }
        }
    }
}

fn too_much() -> ProviderError {
    ProviderError {
        failure: Failure { class: Class::Trouble, retry_after: None },
        status: None,
        kind: None,
        code: None,
        param: None,
        message: "The provider sent more beside a call than can be held.".to_owned(),
    }
}

/// Writes an event of this type.
fn framed(kind: &str, out: &mut Vec<u8>, members: impl FnOnce(&mut Object<'_>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    let mut event = Object::new(out);
    put(event.member("type"), kind);
    members(&mut event);
    event.end();
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests;
