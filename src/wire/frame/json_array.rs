//! A JSON array of objects that comes piece by piece, as `streamGenerateContent` sends it without `alt=sse`.
//!
//! An element that lies within one chunk is not copied. One that is spread over chunks is gathered up to
//! a limit; beyond it, its bytes are handed on as they come.

use crate::wire::json::walk::Scanner;

/// Where a gathered element may leave room behind; more is given back.
const KEPT_CAPACITY: usize = 16 * 1024;

/// What the bytes fall into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<'e> {
    /// A whole element, as written.
    Whole(&'e [u8]),
    /// A piece of an element over the limit, as written.
    Piece {
        /// The piece.
        bytes: &'e [u8],
        /// Whether the element ends with it.
        last: bool,
    },
}

/// Where in the array the bytes so far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before its bracket.
    Before,
    /// Behind its bracket.
    First,
    /// Within an element.
    Within,
    /// Behind an element.
    After,
    /// Behind the comma that follows an element.
    Next,
    /// Behind the closing bracket: nothing more is read.
    Behind,
    /// This is no array of objects: nothing more is read.
    Lost,
}

/// Takes chunks, gives elements. Any cut of the same bytes into chunks gives the same elements, as long as
/// they stay under the limit.
#[derive(Debug)]
pub struct Elements {
    place: Place,
    scanner: Scanner,
    /// The beginning of an element.
    carry: Vec<u8>,
    limit: usize,
    /// The element has outgrown the limit: its bytes are passed on.
    long: bool,
    /// Bytes of it that have come with earlier chunks.
    open: usize,
}

impl Elements {
    /// Gathers elements of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            place: Place::Before,
            scanner: Scanner::new(),
            carry: Vec::new(),
            limit,
            long: false,
            open: 0,
        }
    }

    /// Takes a chunk, and gives the elements that it completes, in order.
    pub fn push(&mut self, chunk: &[u8], mut each: impl FnMut(Element<'_>)) {
        let mut rest = chunk;
        loop {
            if matches!(self.place, Place::Behind | Place::Lost) {
                return;
            }
            if self.place == Place::Within {
                let here = rest;
                if self.walk(&mut rest).is_none() {
                    self.place = Place::Lost;
                    self.carry = Vec::new();
                    return;
                }
                let piece = &here[..here.len() - rest.len()];
                if !self.scanner.ended() {
                    return self.keep(piece, &mut each);
                }
                self.close(piece, &mut each);
            }
            rest = rest.trim_ascii_start();
            let Some((&byte, behind)) = rest.split_first() else { return };
            self.place = match (self.place, byte) {
                (Place::Before, b'[') => Place::First,
                (Place::First | Place::Next, b'{') => {
                    self.scanner = Scanner::new();
                    self.place = Place::Within;
                    continue;
                }
                (Place::First | Place::After, b']') => Place::Behind,
                (Place::After, b',') => Place::Next,
                _ => Place::Lost,
            };
            rest = behind;
        }
    }

    /// How long the element is of which the end has not come.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Where the bytes so far end.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Walks on to the end of the element or of the bytes; `None`: it is no object.
    fn walk(&mut self, rest: &mut &[u8]) -> Option<()> {
        loop {
            match self.scanner.next(rest) {
                Ok(Some(_)) => {}
                Ok(None) => return Some(()),
                // Behind the object stands what is no blank: the array goes on there.
                Err(_) => return self.scanner.ended().then_some(()),
            }
        }
    }

    /// The element goes on in the next chunk.
    fn keep(&mut self, bytes: &[u8], each: &mut impl FnMut(Element<'_>)) {
        self.open += bytes.len();
        if !self.long && self.carry.len() + bytes.len() <= self.limit {
            return self.carry.extend_from_slice(bytes);
        }
        self.long = true;
        let carry = std::mem::take(&mut self.carry);
        for bytes in [&carry, bytes] {
            each(Element::Piece { bytes, last: false });
        }
    }

    /// The element ends with `bytes`.
    fn close(&mut self, bytes: &[u8], each: &mut impl FnMut(Element<'_>)) {
        self.place = Place::After;
        self.open = 0;
        if self.long {
            self.long = false;
            each(Element::Piece { bytes, last: true });
        } else if self.carry.is_empty() {
            each(Element::Whole(bytes.trim_ascii_end()));
        } else {
            self.carry.extend_from_slice(bytes);
            each(Element::Whole(self.carry.trim_ascii_end()));
        }
        self.carry.clear();
        self.carry.shrink_to(KEPT_CAPACITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRAY: &str = "\r\n [{\"a\":\"]},{\"}\r\n,\r\n{\"b\":[{}]} , {}]\n";

    fn hear(chunks: &[&[u8]], limit: usize) -> (Vec<String>, String, Place) {
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
        (whole, String::from_utf8(pieces).unwrap(), elements.place())
    }

    #[test]
    fn any_cut_into_chunks_gives_the_same_elements() {
        let bytes = ARRAY.as_bytes();
        let whole = hear(&[bytes], 100);
        assert_eq!(whole.0, [r#"{"a":"]},{"}"#, r#"{"b":[{}]}"#, "{}"]);
        assert_eq!(whole.2, Place::Behind);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let chunks = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(hear(&chunks, 100), whole, "cut at {first} and {second}");
            }
        }
        assert_eq!(hear(&bytes.chunks(1).collect::<Vec<_>>(), 100), whole);
    }

    #[test]
    fn an_element_over_the_limit_is_handed_on_in_pieces() {
        let bytes = ARRAY.as_bytes();
        for size in 1..6 {
            let (_, pieces, place) = hear(&bytes.chunks(size).collect::<Vec<_>>(), 6);
            let pieces: Vec<_> = pieces.split('|').map(str::trim).collect();
            assert_eq!(pieces, [r#"{"a":"]},{"}"#, r#"{"b":[{}]}"#, ""], "chunks of {size}");
            assert_eq!(place, Place::Behind);
        }
    }

    #[test]
    fn the_place_is_known_at_every_cut() {
        let place = |text: &str| hear(&[text.as_bytes()], 100).2;
        assert_eq!(place(" "), Place::Before);
        assert_eq!(place("[ "), Place::First);
        assert_eq!(place("[{\"a\":1"), Place::Within);
        assert_eq!(place("[{}\n"), Place::After);
        assert_eq!(place("[{},"), Place::Next);
        assert_eq!(place("[]x"), Place::Behind);
        for odd in ["{}", "[1", "[{}{}", "[{},]", "[{1"] {
            assert_eq!(place(odd), Place::Lost, "{odd}");
        }
    }
}
