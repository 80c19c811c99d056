//! The calls of one candidate, put together from their pieces.
//!
//! OpenAI tells calls apart by `index`, and gives id and name once. Others repeat the id, have none, leave
//! the index out, have every call at index 0 (SGLang, Cerebras; ids tell them apart), give the name in
//! pieces, or a whole call at once. A call is opened with its first byte of arguments, when its name is whole.

use super::types;
use crate::wire::api::Format;
use crate::wire::ir::{Event, Kind, Piece, Signature};

/// Calls of one answer that are kept track of.
const MOST: usize = 1024;
/// No API takes a name or an id that is longer; what comes in pieces must end somewhere.
const LONGEST_NAME: usize = 1024;

/// There are too many calls, or a name does not end.
pub(crate) struct TooMuch;

/// The calls of a candidate.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    calls: Vec<Call>,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    signature: Option<String>,
    block: Option<u32>,
    closed: bool,
    json: Json,
}

impl Calls {
    /// Whether there are any.
    pub(crate) fn any(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Takes a piece. `whole`: it is a whole call of a whole answer.
    pub(crate) fn take(
        &mut self,
        piece: &types::Call<'_>,
        whole: bool,
        candidate: u32,
        next: &mut u32,
        out: &mut Vec<Event>,
    ) -> Result<(), TooMuch> {
        let none = types::Function::default();
        let function = piece.function.as_ref().unwrap_or(&none);
        let arguments = function.arguments();
        let (id, name) = (piece.id.as_str(), function.name.as_str());
        let known = match piece.index {
            _ if whole => None,
            Some(index) => self.calls.iter().rposition(|call| call.index == Some(index)),
            None => self.calls.len().checked_sub(1),
        };
        let known = known.filter(|at| !self.calls[*at].is_followed_by(id, name));
        let at = known.unwrap_or(self.calls.len());
        if known.is_none() {
            if at == MOST {
                return Err(TooMuch);
            }
            self.settle(candidate, next, out);
            self.calls.push(Call { index: piece.index, ..Call::default() });
        }
        let call = &mut self.calls[at];
        if call.id.is_empty() {
            id.clone_into(&mut call.id);
        }
        if call.block.is_none() && call.name != name {
            call.name.push_str(name);
        }
        if call.name.len().max(call.id.len()) > LONGEST_NAME {
            return Err(TooMuch);
        }
        if let Some(signature) = piece.extra_content.as_ref().and_then(types::Extra::signature) {
            call.signature = Some(signature.to_owned());
        }
        call.go_on(&arguments, candidate, next, out);
        Ok(())
    }

    /// Opens what has only a name yet, and closes what is whole: something else begins.
    pub(crate) fn settle(&mut self, candidate: u32, next: &mut u32, out: &mut Vec<Event>) {
        for call in &mut self.calls {
            if !call.closed {
                call.open(candidate, next, out);
                if call.json.is_whole() {
                    call.close(out);
                }
            }
        }
    }

    /// Closes all.
    pub(crate) fn close(&mut self, candidate: u32, next: &mut u32, out: &mut Vec<Event>) {
        self.settle(candidate, next, out);
        self.calls.iter_mut().filter(|call| !call.closed).for_each(|call| call.close(out));
    }
}

impl Call {
    /// Whether a piece with this id and name begins another call.
    fn is_followed_by(&self, id: &str, name: &str) -> bool {
        if name.is_empty() {
            // Pieces of one call may each have an id of their own, but one without a name begins nothing.
            return false;
        }
        if !id.is_empty() {
            return !self.id.is_empty() && id != self.id;
        }
        self.json.has_begun() && (name != self.name || self.json.is_whole())
    }

    fn go_on(&mut self, arguments: &str, candidate: u32, next: &mut u32, out: &mut Vec<Event>) {
        if arguments.is_empty() || self.closed {
            return;
        }
        let block = self.open(candidate, next, out);
        self.json.read(arguments.as_bytes());
        out.push(Event::Delta { block, piece: Piece::Text(arguments.to_owned()) });
    }

    fn open(&mut self, candidate: u32, next: &mut u32, out: &mut Vec<Event>) -> u32 {
        if let Some(block) = self.block {
            return block;
        }
        let block = *next;
        *next += 1;
        self.block = Some(block);
        let id = Some(self.id.clone()).filter(|id| !id.is_empty());
        let kind = Kind::ToolCall { id, name: self.name.clone() };
        out.push(Event::Open { block, candidate, kind });
        block
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        let Some(block) = self.block else { return };
        self.closed = true;
        if let Some(data) = self.signature.take() {
            let signature = Signature { format: Format::Gemini, data, id: None };
            out.push(Event::Delta { block, piece: Piece::Signature(signature) });
        }
        out.push(Event::Close { block });
    }
}

/// How far the JSON of some arguments has come.
#[derive(Debug, Default)]
struct Json {
    depth: u32,
    begun: bool,
    in_text: bool,
    escaped: bool,
}

impl Json {
    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.begun |= !byte.is_ascii_whitespace();
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                b'{' | b'[' if !self.in_text => self.depth = self.depth.saturating_add(1),
                b'}' | b']' if !self.in_text => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn has_begun(&self) -> bool {
        self.begun
    }

    fn is_whole(&self) -> bool {
        self.begun && self.depth == 0 && !self.in_text
    }
}
