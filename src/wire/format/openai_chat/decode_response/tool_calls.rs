//! The tool calls of one candidate, assembled from their pieces.
//!
//! OpenAI tells calls apart by `index`, and sends id and name once. Others repeat the id, have none, leave the
//! index out, have every call at index 0 (SGLang, Cerebras; ids tell them apart), send the name in pieces, or a
//! whole call at once. A call opens with its first byte of arguments, when its name is complete.

use super::{Output, google_signature, types};
use crate::wire::ir::{Kind, Piece};

/// The most calls of one candidate.
const MOST_CALLS: usize = 1024;
/// The most bytes of a name or an id: no API takes a longer one, and pieces must end somewhere.
const MAX_NAME_LEN: usize = 1024;

/// The calls of a candidate.
#[derive(Debug, Default)]
pub(super) struct Calls {
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
    /// Returns true if there are calls.
    pub(super) fn any(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Takes a piece of a call; `whole`: a whole call of a whole answer. Fails the answer if there are too many
    /// calls or a name does not end.
    pub(super) fn take(&mut self, piece: &types::Call<'_>, whole: bool, output: &mut Output<'_>) {
        let none = types::Function::default();
        let function = piece.function.as_ref().unwrap_or(&none);
        let (id, name) = (piece.id.as_str(), function.name.as_str());
        let known = match piece.index {
            _ if whole => None,
            Some(index) => self.calls.iter().rposition(|call| call.index == Some(index)),
            None => self.calls.len().checked_sub(1),
        };
        let known = known.filter(|at| !self.calls[*at].is_followed_by(id, name));
        let at = known.unwrap_or(self.calls.len());
        if known.is_none() {
            if at == MOST_CALLS {
                return output.fail("The provider sent too many tool calls.");
            }
            self.settle(output);
            self.calls.push(Call { index: piece.index, ..Call::default() });
        }
        let call = &mut self.calls[at];
        if call.id.is_empty() {
            id.clone_into(&mut call.id);
        }
        if call.block.is_none() && call.name != name {
            call.name.push_str(name);
        }
        if call.name.len().max(call.id.len()) > MAX_NAME_LEN {
            return output.fail("The provider sent a tool call with too long a name.");
        }
        if let Some(signature) = piece.extra_content.as_ref().and_then(types::Extra::signature) {
            call.signature = Some(signature.to_owned());
        }
        call.extend(&function.arguments(), output);
    }

    /// Opens calls that have only a name yet, and closes complete ones, because something else begins.
    pub(super) fn settle(&mut self, output: &mut Output<'_>) {
        for call in self.calls.iter_mut().filter(|call| !call.closed) {
            call.open(output);
            if call.json.is_whole() {
                call.close(output);
            }
        }
    }

    /// Closes all calls.
    pub(super) fn close(&mut self, output: &mut Output<'_>) {
        self.settle(output);
        self.calls.iter_mut().filter(|call| !call.closed).for_each(|call| call.close(output));
    }
}

impl Call {
    /// Returns true if a piece with this id and name begins another call.
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

    fn extend(&mut self, arguments: &str, output: &mut Output<'_>) {
        if arguments.is_empty() || self.closed {
            return;
        }
        self.json.read(arguments.as_bytes());
        if let Some(block) = self.open(output) {
            output.extend(block, Piece::Text(arguments.to_owned()));
        }
    }

    fn open(&mut self, output: &mut Output<'_>) -> Option<u32> {
        if self.block.is_none() {
            let id = Some(self.id.clone()).filter(|id| !id.is_empty());
            self.block = output.open(Kind::ToolCall { id, name: self.name.clone() });
        }
        self.block
    }

    fn close(&mut self, output: &mut Output<'_>) {
        let Some(block) = self.block else { return };
        self.closed = true;
        if let Some(data) = self.signature.take() {
            output.extend(block, google_signature(data));
        }
        output.close(block);
    }
}

/// The state of a scan over the JSON of a call's arguments.
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
