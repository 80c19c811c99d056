//! Server-sent events (WHATWG HTML, section 9.2.6): a stream of bytes falls into events.
//!
//! An event that lies within one chunk is not copied. One that is spread over chunks is gathered up to
//! a limit; beyond it, its bytes are handed on as they come.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// Where a carried event may leave room behind; more is given back.
const KEPT_CAPACITY: usize = 16 * 1024;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'e> {
    /// The value of its `event:` line; empty when it has none.
    pub name: &'e [u8],
    /// Its `data:` lines, joined by line feeds.
    pub data: Cow<'e, [u8]>,
}

/// What the bytes fall into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'f> {
    /// A whole event that carries data.
    Event(Event<'f>),
    /// A piece of an event over the limit, as written: lines with their field names. The first piece is
    /// as long as the limit.
    Long {
        /// The piece.
        bytes: &'f [u8],
        /// Whether the event ends with it.
        last: bool,
    },
}

/// Takes chunks, gives frames. Any cut of the same bytes into chunks gives the same events, as long as
/// they stay under the limit.
#[derive(Debug)]
pub struct Sse {
    /// The beginning of an event, line ends included.
    carry: Vec<u8>,
    limit: usize,
    /// The event has outgrown the limit: its bytes are passed on.
    long: bool,
    /// Bytes of it that have come with earlier chunks.
    open: usize,
    /// Lines of the event that are closed.
    lines: usize,
    /// Whether the current line has bytes.
    in_line: bool,
    /// The last byte was a CR: a LF that follows belongs to it.
    after_cr: bool,
    /// No event has been closed yet: a byte order mark may stand before the first.
    first: bool,
}

impl Sse {
    /// Gathers events of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            carry: Vec::new(),
            limit,
            long: false,
            open: 0,
            lines: 0,
            in_line: false,
            after_cr: false,
            first: true,
        }
    }

    /// Takes a chunk, and gives the frames that it completes, in order.
    pub fn push(&mut self, chunk: &[u8], mut each: impl FnMut(Frame<'_>)) {
        let mut rest = chunk;
        while !rest.is_empty() {
            if self.after_cr && self.lines == 0 && !self.in_line {
                self.after_cr = false;
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
                continue;
            }
            let Some(end) = self.block_end(rest) else { return self.keep(rest, &mut each) };
            let (block, next) = rest.split_at(end);
            self.close(block, &mut each);
            rest = next;
        }
    }

    /// Whether part of an event has come and its end has not.
    pub fn pending(&self) -> bool {
        self.long || !self.carry.is_empty()
    }

    /// How long the event is of which the end has not come.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Behind the empty line that ends the event in which `bytes` goes on.
    fn block_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let Some(length) = memchr2(b'\n', b'\r', &bytes[at..]) else {
                let left = at < bytes.len();
                self.in_line |= left;
                self.after_cr &= !left;
                return None;
            };
            let cr = bytes[at + length] == b'\r';
            at += length + 1;
            let of_cr = length == 0 && self.after_cr && !cr;
            self.after_cr = cr;
            if of_cr {
                continue;
            }
            if length == 0 && !self.in_line {
                return Some(at);
            }
            self.in_line = false;
            self.lines += 1;
            // Most events have one line, which ends as it does.
            if bytes.get(at) == Some(&bytes[at - 1]) {
                self.after_cr = cr;
                return Some(at + 1);
            }
        }
    }

    /// The event goes on in the next chunk.
    fn keep(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Frame<'_>)) {
        self.open += bytes.len();
        if !self.long {
            let room = self.limit - self.carry.len();
            let (fits, over) = bytes.split_at(bytes.len().min(room));
            self.carry.extend_from_slice(fits);
            bytes = over;
            if bytes.is_empty() {
                return;
            }
            self.long = true;
            each(Frame::Long { bytes: &std::mem::take(&mut self.carry), last: false });
        }
        each(Frame::Long { bytes, last: false });
    }

    /// The event ends with `block`.
    fn close(&mut self, block: &[u8], each: &mut impl FnMut(Frame<'_>)) {
        let (first, lines) = (std::mem::take(&mut self.first), std::mem::take(&mut self.lines));
        self.open = 0;
        if !self.long && self.carry.is_empty() {
            return event(block, lines, first, each);
        }
        if !self.long && self.carry.len() + block.len() <= self.limit {
            self.carry.extend_from_slice(block);
            event(&self.carry, lines, first, each);
        } else {
            let carry = std::mem::take(&mut self.carry);
            let (head, tail) = block.split_at(if self.long { 0 } else { self.limit - carry.len() });
            if !self.long {
                each(Frame::Long { bytes: &[&carry, head].concat(), last: false });
            }
            each(Frame::Long { bytes: tail, last: true });
            self.long = false;
        }
        self.carry.clear();
        self.carry.shrink_to(KEPT_CAPACITY);
    }
}

/// Reads a block of so many lines, of which the last is followed by an empty one.
fn event(block: &[u8], lines: usize, first: bool, each: &mut impl FnMut(Frame<'_>)) {
    let block = if first { block.strip_prefix(b"\xef\xbb\xbf").unwrap_or(block) } else { block };
    let (mut name, mut data): (&[u8], Option<Cow<'_, [u8]>>) = (&[], None);
    let mut rest = block;
    for left in (1..=lines).rev() {
        let line = if left == 1 { without_line_ends(rest) } else { next_line(&mut rest) };
        match field(line) {
            (b"data", value) => match &mut data {
                None => data = Some(Cow::Borrowed(value)),
                Some(data) => {
                    let data = data.to_mut();
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            },
            (b"event", value) => name = value,
            _ => {}
        }
    }
    if let Some(data) = data {
        each(Frame::Event(Event { name, data }));
    }
}

/// Cuts off the first line; a CRLF counts as one line end.
pub(crate) fn next_line<'b>(rest: &mut &'b [u8]) -> &'b [u8] {
    let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
    let (line, behind) = rest.split_at(end);
    let ending = if behind.starts_with(b"\r\n") { 2 } else { behind.len().min(1) };
    *rest = &behind[ending..];
    line
}

fn without_line_ends(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r'] = line {
        line = rest;
    }
    line
}

/// Name and value of a line; a comment has no name.
#[inline]
pub(crate) fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = if line.starts_with(b"data:") { Some(4) } else { memchr(b':', line) };
    let Some(colon) = colon else { return (line, &[]) };
    let value = &line[colon + 1..];
    (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Heard = Vec<(String, String)>;

    fn hear(chunks: &[&[u8]], limit: usize) -> (Heard, Vec<u8>, bool) {
        let (mut sse, mut events, mut long) = (Sse::new(limit), Vec::new(), Vec::new());
        for chunk in chunks {
            sse.push(chunk, |frame| match frame {
                Frame::Event(event) => events.push((
                    String::from_utf8(event.name.to_vec()).unwrap(),
                    String::from_utf8(event.data.to_vec()).unwrap(),
                )),
                Frame::Long { bytes, .. } => long.extend_from_slice(bytes),
            });
        }
        (events, long, sse.pending())
    }

    fn events(text: &str) -> Heard {
        hear(&[text.as_bytes()], 1000).0
    }

    fn heard(pairs: &[(&str, &str)]) -> Heard {
        pairs.iter().map(|(name, data)| ((*name).into(), (*data).into())).collect()
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        assert_eq!(events("data: a\n\n"), heard(&[("", "a")]));
        assert_eq!(events("data:a\ndata\ndata:  b\n\n"), heard(&[("", "a\n\n b")]));
        assert_eq!(events(": hello\n\n:\n\ndata: x\n\n"), heard(&[("", "x")]));
        assert_eq!(events("data: x\nevent: e\nid: 1\nretry: 2\n\n"), heard(&[("e", "x")]));
        assert_eq!(events("event: e\n\ndata: y\n\n"), heard(&[("", "y")]));
        assert_eq!(events("\u{feff}data: x\n\n"), heard(&[("", "x")]));
        assert_eq!(events("data: x\n"), heard(&[]));
        assert_eq!(events("data:\n\n"), heard(&[("", "")]));
        assert_eq!(events("xdata: 1\ndata_: 2\n\n"), heard(&[]));
    }

    const MIXED: &str = "\u{feff}: hi\r\n\r\ndata: {\"a\":1}\r\n\r\nevent: two\rdata: b\r\r\n\ndata: c\ndata: d\n\nevent: f\r\ndata: \u{e9}\r\n\r\ndata: last\n\n\r\n";

    #[test]
    fn all_line_ends_close_lines_and_events() {
        let expected =
            [("", "{\"a\":1}"), ("two", "b"), ("", "c\nd"), ("f", "\u{e9}"), ("", "last")];
        let (events, _, pending) = hear(&[MIXED.as_bytes()], 1000);
        assert_eq!((events, pending), (heard(&expected), false));
    }

    #[test]
    fn any_cut_into_chunks_gives_the_same_events() {
        let bytes = MIXED.as_bytes();
        let whole = hear(&[bytes], 1000);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let chunks = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(hear(&chunks, 1000), whole, "cut at {first} and {second}");
            }
        }
        assert_eq!(hear(&bytes.chunks(1).collect::<Vec<_>>(), 1000), whole);
    }

    #[test]
    fn an_event_is_pending_until_its_empty_line() {
        for (text, pending) in
            [("data: x", true), ("data: x\n", true), ("data: x\n\n", false), ("data: x\r\r", false)]
        {
            assert_eq!(hear(&[text.as_bytes()], 1000).2, pending, "{text:?}");
        }
        assert!(!hear(&[b"data: x\r\n\r", b"\n"], 1000).2);
    }

    #[test]
    fn an_event_over_the_limit_is_handed_on_in_pieces() {
        let text = "data: 1\n\nevent: x\ndata: 0123456789\n\ndata: 2\n\n";
        let long = "event: x\ndata: 0123456789\n\n";
        for size in 1..8 {
            let chunks: Vec<_> = text.as_bytes().chunks(size).collect();
            let (events, pieces, pending) = hear(&chunks, 12);
            assert_eq!(events, heard(&[("", "1"), ("", "2")]), "chunks of {size}");
            assert_eq!(String::from_utf8(pieces).unwrap(), long, "chunks of {size}");
            assert!(!pending);
        }
        let mut sse = Sse::new(12);
        let mut first = None;
        for chunk in text.as_bytes().chunks(10) {
            sse.push(chunk, |frame| {
                if let Frame::Long { bytes, .. } = frame {
                    first.get_or_insert(bytes.len());
                }
            });
        }
        assert_eq!(first, Some(12));
    }

    #[test]
    fn the_length_of_an_event_is_known_before_its_end() {
        let mut sse = Sse::new(8);
        for (chunk, open) in [
            (&b"data: 1\n\ndata:"[..], 5),
            (b" 23456", 11),
            (b"7\n", 13),
            (b"\n", 0),
            (b"data: 8\n\n", 0),
        ] {
            sse.push(chunk, |_| {});
            assert_eq!(sse.open(), open, "{chunk:?}");
        }
    }

    #[test]
    fn what_is_carried_stays_under_the_limit() {
        let mut sse = Sse::new(1024);
        for _ in 0..10_000 {
            sse.push(&[b'x'; 100], |_| {});
            assert!(sse.carry.capacity() <= 2048);
        }
    }
}
