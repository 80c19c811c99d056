//! Captures a few members of an object that arrives in chunks.

use crate::wire::json::walk::{Part, Scanner, is_named};

/// The maximum number of bytes kept of a captured value. A usage object contains a dozen numbers.
const KEPT: usize = 4 * 1024;

/// The members of one object that describe the result of a response. Text that is not an object yields
/// nothing.
#[derive(Debug)]
pub(crate) struct MemberCapture {
    /// `None`: the text is not an object, and the rest is ignored.
    scanner: Option<Scanner>,
    /// The key that is being read.
    key: Vec<u8>,
    /// The destination of the value that is being read.
    into: Into,
    kind: Vec<u8>,
    usage: Vec<u8>,
    error: Vec<u8>,
    /// The members of `response`, which contains usage and error in the last event of the Responses API.
    response: Option<Box<MemberCapture>>,
}

#[derive(Clone, Copy, Debug)]
enum Into {
    Nothing,
    Kind,
    Usage,
    Error,
    Response,
}

impl Default for MemberCapture {
    fn default() -> Self {
        Self { response: Some(Box::new(Self::inner())), ..Self::inner() }
    }
}

impl MemberCapture {
    fn inner() -> Self {
        Self {
            scanner: Some(Scanner::new()),
            key: Vec::new(),
            into: Into::Nothing,
            kind: Vec::new(),
            usage: Vec::new(),
            error: Vec::new(),
            response: None,
        }
    }

    /// Reads the next bytes.
    pub(crate) fn observe(&mut self, bytes: &[u8]) {
        let Some(mut scanner) = self.scanner.take() else { return };
        let mut rest = bytes;
        loop {
            match scanner.next(&mut rest) {
                Ok(Some(piece)) if piece.part == Part::Key => self.key(piece.bytes, piece.ends),
                Ok(Some(piece)) => self.value(piece.bytes),
                Ok(None) => break,
                Err(_) => return,
            }
            if scanner.ended() {
                return;
            }
        }
        self.scanner = Some(scanner);
    }

    pub(crate) fn kind(&self) -> Option<&[u8]> {
        said(&self.kind)
    }

    /// Returns the usage of the object, or else the usage of its `response`.
    pub(crate) fn usage(&self) -> Option<&[u8]> {
        said(&self.usage).or_else(|| self.response.as_ref().and_then(|inner| said(&inner.usage)))
    }

    pub(crate) fn error(&self) -> Option<&[u8]> {
        said(&self.error)
    }

    pub(crate) fn inner_error(&self) -> Option<&[u8]> {
        self.response.as_ref().and_then(|inner| said(&inner.error))
    }

    fn key(&mut self, piece: &[u8], ends: bool) {
        if !ends {
            return keep(&mut self.key, piece);
        }
        if self.key.is_empty() {
            self.into = self.room_for(piece);
        } else {
            keep(&mut self.key, piece);
            let key = std::mem::take(&mut self.key);
            self.into = self.room_for(&key);
        }
    }

    /// Returns the destination for the value of this key. If a key occurs twice, the last value counts.
    fn room_for(&mut self, key: &[u8]) -> Into {
        if is_named(key, "usage") {
            self.usage.clear();
            Into::Usage
        } else if is_named(key, "error") {
            self.error.clear();
            Into::Error
        } else if is_named(key, "type") {
            self.kind.clear();
            Into::Kind
        } else if is_named(key, "response") {
            Into::Response
        } else {
            Into::Nothing
        }
    }

    fn value(&mut self, piece: &[u8]) {
        match self.into {
            Into::Nothing => {}
            Into::Kind => keep(&mut self.kind, piece),
            Into::Usage => keep(&mut self.usage, piece),
            Into::Error => keep(&mut self.error, piece),
            Into::Response => {
                if let Some(inner) = &mut self.response {
                    inner.observe(piece);
                }
            }
        }
    }
}

fn keep(into: &mut Vec<u8>, piece: &[u8]) {
    let room = KEPT - into.len();
    into.extend_from_slice(&piece[..piece.len().min(room)]);
}

fn said(value: &[u8]) -> Option<&[u8]> {
    (!value.is_empty() && value != b"null").then_some(value)
}
