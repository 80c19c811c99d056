//! Writes an answer for a caller. A whole answer is the fold of the events of its stream.
//!
//! The API streams one block after another, numbered from 0. Other formats have several open at once: a text or
//! reasoning is closed when the next block begins, and continues as another block if more of it arrives; a
//! block that begins beside a call waits until the call is complete, so that no call is split.

mod block;
mod whole;

use std::collections::VecDeque;

use self::block::WrittenBlock;
use super::stop_reason;
use super::types::{Answer, Error, MessageDelta, OutputTokensDetails, StreamEvent, Usage};
use crate::wire::failure::ProviderError;
use crate::wire::format::context::ResponseContext;
use crate::wire::inspect::usage;
use crate::wire::ir::{Event, Kind, Piece, Stop};
use crate::wire::json::write::put;

pub use self::whole::encode_whole;

/// The most bytes that are held of blocks that wait for a call to be complete.
const MAX_WAITING: usize = 16 << 20;
/// The most blocks that are remembered as interrupted; no format has as many open.
const MAX_INTERRUPTED: usize = 64;

/// Takes the events of the caller's stream.
type Sink<'s> = dyn FnMut(StreamEvent<'_>) + 's;

/// Writes a stream for a caller.
#[derive(Debug)]
pub struct Encoder {
    context: ResponseContext,
    /// The index of the next block of the stream.
    next_index: u32,
    /// How many calls were written.
    calls: u32,
    is_refusal: bool,
    current: Option<Box<WrittenBlock>>,
    waiting: VecDeque<WaitingBlock>,
    waiting_bytes: usize,
    /// Blocks that were closed before they were complete.
    interrupted: Vec<(u32, Kind)>,
    usage: usage::Usage,
    stop: Option<(Stop, Option<String>)>,
    is_over: bool,
}

/// A block that began beside a call.
#[derive(Debug)]
struct WaitingBlock {
    block: u32,
    kind: Kind,
    pieces: Vec<Piece>,
    is_closed: bool,
}

impl Encoder {
    /// For the answer to one request.
    pub fn new(context: ResponseContext) -> Encoder {
        Encoder {
            context,
            next_index: 0,
            calls: 0,
            is_refusal: false,
            current: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            interrupted: Vec::new(),
            usage: usage::Usage::default(),
            stop: None,
            is_over: false,
        }
    }

    /// Writes an event as server-sent events.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        self.encode(event, &mut |event| {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(event.name().as_bytes());
            out.extend_from_slice(b"\ndata: ");
            put(out, &event);
            out.extend_from_slice(b"\n\n");
        });
    }

    fn encode(&mut self, event: &Event, sink: &mut Sink<'_>) {
        if self.is_over {
            return;
        }
        match event {
            Event::Start { id, model, .. } => self.start(id.as_deref(), model.as_deref(), sink),
            // The format has one candidate; and `service_tier` is in the usage of `message_start`, where it is
            // not known yet.
            Event::Open { candidate: 1.., .. }
            | Event::Stop { candidate: 1.., .. }
            | Event::Tier(_) => {}
            Event::Open { block, kind, .. } => self.open(*block, kind, sink),
            Event::Delta { block, piece } => self.extend(*block, piece, sink),
            Event::Close { block } => self.close(*block, sink),
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Stop { why, sequence, .. } => self.stop = Some((*why, sequence.clone())),
            Event::End => self.end(sink),
            Event::Fail(error) => self.fail(error, sink),
            Event::Ping => sink(StreamEvent::Ping),
        }
    }

    /// The id is the provider's, if it sent one. `input_tokens` must be a number, and the true one comes at the
    /// end: the official clients take it from `message_delta` when it is there.
    fn start(&mut self, id: Option<&str>, model: Option<&str>, sink: &mut Sink<'_>) {
        let id = match id {
            Some(id) => id.into(),
            None => format!("msg_{}", self.context.id).into(),
        };
        let mut usage = Usage::from(self.usage);
        usage.input_tokens.get_or_insert(0);
        let message = Answer {
            id,
            role: "assistant",
            model: model.unwrap_or(&self.context.model).into(),
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage,
        };
        sink(StreamEvent::MessageStart { message });
    }

    fn open(&mut self, block: u32, kind: &Kind, sink: &mut Sink<'_>) {
        if let Some(current) = &self.current {
            if current.is_call() || !self.waiting.is_empty() {
                let (kind, pieces) = (kind.clone(), Vec::new());
                self.waiting.push_back(WaitingBlock { block, kind, pieces, is_closed: false });
                return;
            }
            self.interrupt(sink);
        }
        self.begin(block, kind, sink);
    }

    /// Closes the current block before it is complete.
    fn interrupt(&mut self, sink: &mut Sink<'_>) {
        if let Some(current) = self.current.take() {
            if self.interrupted.len() >= MAX_INTERRUPTED {
                self.interrupted.remove(0);
            }
            self.interrupted.push(current.end(&mut self.next_index, sink));
        }
    }

    fn begin(&mut self, block: u32, kind: &Kind, sink: &mut Sink<'_>) {
        self.is_refusal |= *kind == Kind::Refusal;
        // The same id for the same call, also of a whole answer.
        let made_id = || format!("call_{}_{}", self.context.id, self.calls);
        self.current =
            WrittenBlock::begin(block, kind, made_id, &mut self.next_index, sink).map(Box::new);
        self.calls += u32::from(matches!(kind, Kind::ToolCall { .. }));
    }

    fn extend(&mut self, block: u32, piece: &Piece, sink: &mut Sink<'_>) {
        if let Some(current) = self.current.as_mut().filter(|current| current.block() == block) {
            current.extend(piece, &mut self.next_index, sink);
        } else if let Some(waiting) = self.waiting.iter_mut().find(|own| own.block == block) {
            self.waiting_bytes += waiting.extend(piece);
            if self.waiting_bytes > MAX_WAITING {
                let message = "The provider sent more than 16 MiB beside a tool call.";
                self.fail(&ProviderError::malformed(message), sink);
            }
        } else if let Some(at) = self.interrupted.iter().position(|(own, _)| *own == block) {
            let kind = self.interrupted.remove(at).1;
            self.open(block, &kind, sink);
            self.extend(block, piece, sink);
        }
    }

    fn close(&mut self, block: u32, sink: &mut Sink<'_>) {
        self.interrupted.retain(|(own, _)| *own != block);
        if let Some(waiting) = self.waiting.iter_mut().find(|own| own.block == block) {
            waiting.is_closed = true;
        }
        if let Some(current) = self.current.take_if(|current| current.block() == block) {
            current.end(&mut self.next_index, sink);
            self.write_waiting(sink);
        }
    }

    fn write_waiting(&mut self, sink: &mut Sink<'_>) {
        while let Some(waiting) = self.waiting.pop_front() {
            self.begin(waiting.block, &waiting.kind, sink);
            for piece in &waiting.pieces {
                if let Some(current) = &mut self.current {
                    current.extend(piece, &mut self.next_index, sink);
                }
            }
            if waiting.is_closed || self.current.is_none() {
                if let Some(current) = self.current.take() {
                    current.end(&mut self.next_index, sink);
                }
                continue;
            }
            if self.waiting.is_empty() || self.current.as_deref().is_some_and(WrittenBlock::is_call)
            {
                break;
            }
            self.interrupt(sink);
        }
        if self.waiting.is_empty() {
            self.waiting_bytes = 0;
        }
    }

    /// Clients act on the stop reason: to one that runs tools an answer with calls is not over, and a refusal is
    /// one whatever the provider calls its end.
    fn end(&mut self, sink: &mut Sink<'_>) {
        self.is_over = true;
        let (why, sequence) = self.stop.take().unwrap_or((Stop::Other, None));
        let why = match why {
            Stop::End if self.calls > 0 => Stop::Calls,
            Stop::End if self.is_refusal => Stop::Refusal,
            why => why,
        };
        let stop_reason = stop_reason::name_of(why);
        let delta = MessageDelta { stop_reason, stop_sequence: sequence.as_deref() };
        sink(StreamEvent::MessageDelta { delta, usage: self.usage.into() });
        sink(StreamEvent::MessageStop);
    }

    fn fail(&mut self, error: &ProviderError, sink: &mut Sink<'_>) {
        self.is_over = true;
        sink(error_event(error));
    }
}

fn error_event(error: &ProviderError) -> StreamEvent<'_> {
    let (kind, message) = (stop_reason::error_type(error), &error.message);
    StreamEvent::Error { error: Error { kind, message } }
}

impl From<usage::Usage> for Usage {
    fn from(usage: usage::Usage) -> Usage {
        let of_cache =
            usage.cached_input.unwrap_or(0).saturating_add(usage.cache_write.unwrap_or(0));
        Usage {
            input_tokens: usage.input.map(|input| input.saturating_sub(of_cache)),
            cache_creation_input_tokens: usage.cache_write,
            cache_read_input_tokens: usage.cached_input,
            output_tokens: usage.output.unwrap_or(0),
            output_tokens_details: usage
                .reasoning
                .map(|thinking_tokens| OutputTokensDetails { thinking_tokens }),
            service_tier: None,
        }
    }
}

impl WaitingBlock {
    /// Keeps a piece, and returns its size in bytes, roughly.
    fn extend(&mut self, piece: &Piece) -> usize {
        match (piece, self.pieces.last_mut()) {
            (Piece::Text(more), Some(Piece::Text(text))) => {
                text.push_str(more);
                return more.len();
            }
            (Piece::Logprobs(_), _) => return 0,
            _ => self.pieces.push(piece.clone()),
        }
        match piece {
            Piece::Text(text) => text.len(),
            Piece::Signature(signature) => signature.data.len(),
            Piece::Citation(_) | Piece::Logprobs(_) => 1024,
        }
    }
}

#[cfg(test)]
mod tests;
