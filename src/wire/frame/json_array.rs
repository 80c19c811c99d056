//! Decodes a JSON array of objects that arrives in chunks, as `streamGenerateContent` sends it without
//! `alt=sse`.
//!
//! An element inside one chunk is not copied. An element that spans chunks is buffered up to a limit; a
//! longer one is passed on in pieces as they arrive.

use crate::wire::json::walk::Scanner;

/// Capacity that the buffer keeps after an element; the rest is freed.
const KEPT_CAPACITY: usize = 16 * 1024;

/// An element, or a piece of a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<'e> {
    /// A whole element, as written.
    Whole(&'e [u8]),
    /// A piece of an element over the limit, as written.
    Piece {
        /// The piece.
        bytes: &'e [u8],
        /// True for the last piece of the element.
        last: bool,
    },
}

/// Where in the array the bytes so far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Before the opening bracket.
    Start,
    /// After the opening bracket.
    First,
    /// Inside an element.
    Within,
    /// After an element.
    After,
    /// After the comma that follows an element.
    Next,
    /// After the closing bracket: the rest is ignored.
    End,
    /// The text is not an array of objects: the rest is ignored.
    Malformed,
}

/// Decodes chunks into elements. Any split of the same bytes into chunks gives the same elements, if they are
/// not longer than the limit.
#[derive(Debug)]
pub struct Elements {
    position: Position,
    scanner: Scanner,
    /// The beginning of an incomplete element.
    buffer: Vec<u8>,
    limit: usize,
    /// Set when the current element is over the limit, so that its bytes are passed on in pieces.
    long: bool,
    /// Bytes of the current element in earlier chunks.
    open: usize,
}

impl Elements {
    /// Creates a decoder that buffers elements of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            position: Position::Start,
            scanner: Scanner::new(),
            buffer: Vec::new(),
            limit,
            long: false,
            open: 0,
        }
    }

    /// Decodes a chunk and calls `each` for every element that it completes, in order.
    pub fn push(&mut self, chunk: &[u8], mut each: impl FnMut(Element<'_>)) {
        let mut rest = chunk;
        loop {
            if matches!(self.position, Position::End | Position::Malformed) {
                return;
            }
            if self.position == Position::Within {
                let before = rest;
                if self.scan(&mut rest).is_none() {
                    self.position = Position::Malformed;
                    self.buffer = Vec::new();
                    return;
                }
                let piece = &before[..before.len() - rest.len()];
                if !self.scanner.ended() {
                    return self.buffer_piece(piece, &mut each);
                }
                self.close(piece, &mut each);
            }
            rest = rest.trim_ascii_start();
            let Some((&byte, after)) = rest.split_first() else { return };
            self.position = match (self.position, byte) {
                (Position::Start, b'[') => Position::First,
                (Position::First | Position::Next, b'{') => {
                    self.scanner = Scanner::new();
                    self.position = Position::Within;
                    continue;
                }
                (Position::First | Position::After, b']') => Position::End,
                (Position::After, b',') => Position::Next,
                _ => Position::Malformed,
            };
            rest = after;
        }
    }

    /// Returns how many bytes of the incomplete element have arrived.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Returns where in the array the bytes so far end.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Scans to the end of the element or of the bytes; `None` if the element is not an object.
    fn scan(&mut self, rest: &mut &[u8]) -> Option<()> {
        loop {
            match self.scanner.next(rest) {
                Ok(Some(_)) => {}
                Ok(None) => return Some(()),
                // The object is followed by something other than white space: the array continues there.
                Err(_) => return self.scanner.ended().then_some(()),
            }
        }
    }

    /// Stores a piece of an element that continues in the next chunk.
    fn buffer_piece(&mut self, bytes: &[u8], each: &mut impl FnMut(Element<'_>)) {
        self.open += bytes.len();
        if !self.long && self.buffer.len() + bytes.len() <= self.limit {
            return self.buffer.extend_from_slice(bytes);
        }
        self.long = true;
        let buffer = std::mem::take(&mut self.buffer);
        for bytes in [&buffer, bytes] {
            each(Element::Piece { bytes, last: false });
        }
    }

    /// Completes the element with its last bytes.
    fn close(&mut self, bytes: &[u8], each: &mut impl FnMut(Element<'_>)) {
        self.position = Position::After;
        self.open = 0;
        if self.long {
            self.long = false;
            each(Element::Piece { bytes, last: true });
        } else if self.buffer.is_empty() {
            each(Element::Whole(bytes.trim_ascii_end()));
        } else {
            self.buffer.extend_from_slice(bytes);
            each(Element::Whole(self.buffer.trim_ascii_end()));
        }
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_CAPACITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRAY: &str = "\r\n [{\"a\":\"]},{\"}\r\n,\r\n{\"b\":[{}]} , {}]\n";

    fn decode_all(chunks: &[&[u8]], limit: usize) -> (Vec<String>, String, Position) {
        let (mut elements, mut whole, mut pieces) = (Elements::new(limit), Vec::new(), Vec::new());
        for chunk in chunks {
            elements.push(chunk, |element| match element {
                Element::Whole(bytes) => whole.push(String::from_utf8(bytes.to_vec()).unwrap()),
                Element::Piece { bytes, last } => {
                    pieces.extend_from_slice(bytes);
                    pieces.extend_from_slice(if last { b"|" } else { b"" });
                }
            });
        }
        (whole, String::from_utf8(pieces).unwrap(), elements.position())
    }

    #[test]
    fn any_split_into_chunks_gives_the_same_elements() {
        let bytes = ARRAY.as_bytes();
        let whole = decode_all(&[bytes], 100);
        assert_eq!(whole.0, [r#"{"a":"]},{"}"#, r#"{"b":[{}]}"#, "{}"]);
        assert_eq!(whole.2, Position::End);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let chunks = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(decode_all(&chunks, 100), whole, "split at {first} and {second}");
            }
        }
        assert_eq!(decode_all(&bytes.chunks(1).collect::<Vec<_>>(), 100), whole);
    }

    #[test]
    fn an_element_over_the_limit_is_passed_on_in_pieces() {
        let bytes = ARRAY.as_bytes();
        for size in 1..6 {
            let (_, pieces, position) = decode_all(&bytes.chunks(size).collect::<Vec<_>>(), 6);
            let pieces: Vec<_> = pieces.split('|').map(str::trim).collect();
            assert_eq!(pieces, [r#"{"a":"]},{"}"#, r#"{"b":[{}]}"#, ""], "chunks of {size}");
            assert_eq!(position, Position::End);
        }
    }

    #[test]
    fn the_position_is_known_after_every_chunk() {
        let position = |text: &str| decode_all(&[text.as_bytes()], 100).2;
        assert_eq!(position(" "), Position::Start);
        assert_eq!(position("[ "), Position::First);
        assert_eq!(position("[{\"a\":1"), Position::Within);
        assert_eq!(position("[{}\n"), Position::After);
        assert_eq!(position("[{},"), Position::Next);
        assert_eq!(position("[]x"), Position::End);
        for malformed in ["{}", "[1", "[{}{}", "[{},]", "[{1"] {
            assert_eq!(position(malformed), Position::Malformed, "{malformed}");
        }
    }
}
