//! Writes the events of an answer for the decoders. It makes the grammar of [`event`](super::event): one start,
//! numbered blocks that close once, one stop a candidate after its blocks, nothing after the end or a failure.

use super::{Event, Kind, Piece, Stop};
use crate::wire::failure::ProviderError;

/// The most candidates of an answer that are followed (OpenAI's limit of `n`).
pub(crate) const MOST_CANDIDATES: u32 = 128;

/// The state of an answer, of which the blocks are the most. A call that the grammar forbids at that point
/// writes nothing.
#[derive(Debug)]
pub(crate) struct BlockWriter {
    most_blocks: u32,
    next: u32,
    open: Vec<OpenBlock>,
    /// Candidates that have stopped.
    stopped: Vec<u32>,
    started: bool,
    over: bool,
}

#[derive(Clone, Copy, Debug)]
struct OpenBlock {
    block: u32,
    candidate: u32,
    shape: Shape,
}

/// The kind of an open block, without its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Reasoning,
    Refusal,
    ToolCall,
    /// Complete when it opens.
    Whole,
}

impl Shape {
    fn of(kind: &Kind) -> Shape {
        match kind {
            Kind::Text => Shape::Text,
            Kind::Reasoning => Shape::Reasoning,
            Kind::Refusal => Shape::Refusal,
            Kind::ToolCall { .. } => Shape::ToolCall,
            Kind::Media(_) | Kind::Foreign { .. } => Shape::Whole,
        }
    }
}

impl BlockWriter {
    /// For an answer that fails if it has more than `most_blocks` blocks.
    pub(crate) fn new(most_blocks: u32) -> BlockWriter {
        BlockWriter {
            most_blocks,
            next: 0,
            open: Vec::new(),
            stopped: Vec::new(),
            started: false,
            over: false,
        }
    }

    /// Returns true after the answer's start.
    pub(crate) fn is_started(&self) -> bool {
        self.started
    }

    /// Returns true after the answer's end or failure.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Returns true after the candidate's stop.
    pub(crate) fn is_stopped(&self, candidate: u32) -> bool {
        self.stopped.contains(&candidate)
    }

    /// Begins the answer, once.
    pub(crate) fn start(
        &mut self,
        id: Option<String>,
        model: Option<String>,
        created: Option<u64>,
        out: &mut Vec<Event>,
    ) {
        if !self.over && !std::mem::replace(&mut self.started, true) {
            out.push(Event::Start { id, model, created });
        }
    }

    /// Opens a block and returns its number; `None` if the candidate has stopped, the answer is over, or it has
    /// too many blocks, which fails it. Starts an answer that has not started.
    pub(crate) fn open(&mut self, candidate: u32, kind: Kind, out: &mut Vec<Event>) -> Option<u32> {
        if self.over || self.is_stopped(candidate) {
            return None;
        }
        self.start(None, None, None, out);
        if self.next >= self.most_blocks || candidate >= MOST_CANDIDATES {
            self.fail(ProviderError::malformed("The provider's answer has too many blocks."), out);
            return None;
        }
        let block = self.next;
        self.next += 1;
        self.open.push(OpenBlock { block, candidate, shape: Shape::of(&kind) });
        out.push(Event::Open { block, candidate, kind });
        Some(block)
    }

    /// Opens a block that is complete, and closes it.
    pub(crate) fn whole(&mut self, candidate: u32, kind: Kind, out: &mut Vec<Event>) {
        if let Some(block) = self.open(candidate, kind, out) {
            self.close(block, out);
        }
    }

    /// Returns the candidate's block that was opened last and is still open.
    pub(crate) fn current(&self, candidate: u32) -> Option<(u32, Shape)> {
        let last = self.open.iter().rfind(|open| open.candidate == candidate)?;
        Some((last.block, last.shape))
    }

    /// Returns the candidate's current block if it is of this kind; otherwise closes the candidate's blocks and
    /// opens one of this kind.
    pub(crate) fn continue_or_open(
        &mut self,
        candidate: u32,
        kind: Kind,
        out: &mut Vec<Event>,
    ) -> Option<u32> {
        match self.current(candidate) {
            Some((block, shape)) if shape == Shape::of(&kind) => Some(block),
            _ => {
                self.close_candidate(candidate, out);
                self.open(candidate, kind, out)
            }
        }
    }

    /// Adds to an open block. An empty text adds nothing.
    pub(crate) fn extend(&mut self, block: u32, piece: Piece, out: &mut Vec<Event>) {
        let is_empty = matches!(&piece, Piece::Text(text) if text.is_empty());
        if !self.over && !is_empty && self.open.iter().any(|open| open.block == block) {
            out.push(Event::Delta { block, piece });
        }
    }

    /// Closes an open block.
    pub(crate) fn close(&mut self, block: u32, out: &mut Vec<Event>) {
        if let Some(at) = self.open.iter().position(|open| open.block == block)
            && !self.over
        {
            self.open.remove(at);
            out.push(Event::Close { block });
        }
    }

    /// Closes the open blocks of a candidate.
    pub(crate) fn close_candidate(&mut self, candidate: u32, out: &mut Vec<Event>) {
        if self.over {
            return;
        }
        self.open.retain(|open| {
            let is_other = open.candidate != candidate;
            if !is_other {
                out.push(Event::Close { block: open.block });
            }
            is_other
        });
    }

    /// Stops a candidate, once, and closes its blocks before.
    pub(crate) fn stop(
        &mut self,
        candidate: u32,
        why: Stop,
        raw: Option<String>,
        sequence: Option<String>,
        out: &mut Vec<Event>,
    ) {
        if self.over || self.is_stopped(candidate) || candidate >= MOST_CANDIDATES {
            return;
        }
        self.start(None, None, None, out);
        self.close_candidate(candidate, out);
        self.stopped.push(candidate);
        out.push(Event::Stop { candidate, why, raw, sequence });
    }

    /// Ends the answer, once.
    pub(crate) fn end(&mut self, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.over, true) {
            out.push(Event::End);
        }
    }

    /// Fails the answer, unless it is over.
    pub(crate) fn fail(&mut self, error: ProviderError, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.over, true) {
            out.push(Event::Fail(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BlockWriter, &mut Vec<Event>)) -> Vec<Event> {
        let (mut writer, mut out) = (BlockWriter::new(2), Vec::new());
        write(&mut writer, &mut out);
        out
    }

    #[test]
    fn an_answer_starts_once_and_ends_once_with_its_blocks_closed() {
        let out = written(|writer, out| {
            let text = writer.continue_or_open(0, Kind::Text, out).unwrap();
            writer.extend(text, Piece::Text(String::new()), out);
            writer.extend(text, Piece::Text("a".to_owned()), out);
            assert_eq!(writer.continue_or_open(0, Kind::Text, out), Some(text));
            let reasoning = writer.continue_or_open(0, Kind::Reasoning, out).unwrap();
            writer.extend(text, Piece::Text("too late".to_owned()), out);
            writer.start(Some("late".to_owned()), None, None, out);
            writer.stop(0, Stop::End, None, None, out);
            writer.stop(0, Stop::Length, None, None, out);
            writer.close(reasoning, out);
            assert_eq!(writer.open(0, Kind::Text, out), None);
            writer.end(out);
            writer.end(out);
            writer.fail(ProviderError::malformed(""), out);
        });
        assert_eq!(
            out,
            [
                Event::Start { id: None, model: None, created: None },
                Event::Open { block: 0, candidate: 0, kind: Kind::Text },
                Event::Delta { block: 0, piece: Piece::Text("a".to_owned()) },
                Event::Close { block: 0 },
                Event::Open { block: 1, candidate: 0, kind: Kind::Reasoning },
                Event::Close { block: 1 },
                Event::Stop { candidate: 0, why: Stop::End, raw: None, sequence: None },
                Event::End,
            ]
        );
    }

    #[test]
    fn an_answer_of_too_many_blocks_fails() {
        let out = written(|writer, out| {
            for _ in 0..4 {
                writer.whole(0, Kind::Text, out);
            }
            writer.end(out);
        });
        assert_eq!(out.len(), 6);
        assert!(matches!(out.last(), Some(Event::Fail(_))));
    }
}
