//! Server-sent events (WHATWG HTML, section 9.2.6): decodes a stream of bytes into events.
//!
//! An event inside one chunk is not copied. An event that spans chunks is buffered up to a limit; a longer
//! one is passed on in pieces as they arrive.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// Capacity that the buffer keeps after an event; the rest is freed.
const KEPT_CAPACITY: usize = 16 * 1024;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'e> {
    /// The value of its `event:` line; empty if there is none.
    pub name: &'e [u8],
    /// The values of its `data:` lines, joined by line feeds.
    pub data: Cow<'e, [u8]>,
}

/// An event, or a piece of a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'f> {
    /// A whole event with at least one `data:` line.
    Event(Event<'f>),
    /// A piece of an event over the limit, as written: lines with their field names. The first piece is as
    /// long as the limit.
    Long {
        /// The piece.
        bytes: &'f [u8],
        /// True for the last piece of the event.
        last: bool,
    },
}

/// Decodes chunks into frames. Any split of the same bytes into chunks gives the same events, if they are not
/// longer than the limit.
#[derive(Debug)]
pub struct Sse {
    /// The beginning of an incomplete event, line ends included.
    buffer: Vec<u8>,
    limit: usize,
    /// Set when the current event is over the limit, so that its bytes are passed on in pieces.
    long: bool,
    /// Bytes of the current event in earlier chunks.
    open: usize,
    /// Complete lines of the current event.
    lines: usize,
    /// Set when the current line is not empty.
    in_line: bool,
    /// Set after a CR: a LF that follows belongs to the same line end.
    after_cr: bool,
    /// Set until the first event ends: a byte order mark may precede it.
    first: bool,
}

impl Sse {
    /// Creates a decoder that buffers events of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            limit,
            long: false,
            open: 0,
            lines: 0,
            in_line: false,
            after_cr: false,
            first: true,
        }
    }

    /// Decodes a chunk and calls `each` for every frame that it completes, in order.
    pub fn push(&mut self, chunk: &[u8], mut each: impl FnMut(Frame<'_>)) {
        let mut rest = chunk;
        while !rest.is_empty() {
            if self.after_cr && self.lines == 0 && !self.in_line {
                self.after_cr = false;
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
                continue;
            }
            let Some(end) = self.block_end(rest) else { return self.buffer_piece(rest, &mut each) };
            let (block, next) = rest.split_at(end);
            self.close(block, &mut each);
            rest = next;
        }
    }

    /// Returns whether an event is incomplete.
    pub fn pending(&self) -> bool {
        self.long || !self.buffer.is_empty()
    }

    /// Returns how many bytes of the incomplete event have arrived.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Returns the offset after the empty line that ends the current event.
    fn block_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let Some(length) = memchr2(b'\n', b'\r', &bytes[at..]) else {
                let has_rest = at < bytes.len();
                self.in_line |= has_rest;
                self.after_cr &= !has_rest;
                return None;
            };
            let cr = bytes[at + length] == b'\r';
            at += length + 1;
            let is_lf_of_crlf = length == 0 && self.after_cr && !cr;
            self.after_cr = cr;
            if is_lf_of_crlf {
                continue;
            }
            if length == 0 && !self.in_line {
                return Some(at);
            }
            self.in_line = false;
            self.lines += 1;
            // Most events consist of one line, and its line end equals that of the empty line.
            if bytes.get(at) == Some(&bytes[at - 1]) {
                self.after_cr = cr;
                return Some(at + 1);
            }
        }
    }

    /// Stores a piece of an event that continues in the next chunk.
    fn buffer_piece(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Frame<'_>)) {
        self.open += bytes.len();
        if !self.long {
            let room = self.limit - self.buffer.len();
            let (fitting, excess) = bytes.split_at(bytes.len().min(room));
            self.buffer.extend_from_slice(fitting);
            bytes = excess;
            if bytes.is_empty() {
                return;
            }
            self.long = true;
            each(Frame::Long { bytes: &std::mem::take(&mut self.buffer), last: false });
        }
        each(Frame::Long { bytes, last: false });
    }

    /// Completes the event with its last bytes.
    fn close(&mut self, block: &[u8], each: &mut impl FnMut(Frame<'_>)) {
        let (first, lines) = (std::mem::take(&mut self.first), std::mem::take(&mut self.lines));
        self.open = 0;
        if !self.long && self.buffer.is_empty() {
            return decode_event(block, lines, first, each);
        }
        if !self.long && self.buffer.len() + block.len() <= self.limit {
            self.buffer.extend_from_slice(block);
            decode_event(&self.buffer, lines, first, each);
        } else {
            let buffer = std::mem::take(&mut self.buffer);
            let (head, tail) =
                block.split_at(if self.long { 0 } else { self.limit - buffer.len() });
            if !self.long {
                each(Frame::Long { bytes: &[&buffer, head].concat(), last: false });
            }
            each(Frame::Long { bytes: tail, last: true });
            self.long = false;
        }
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_CAPACITY);
    }
}

/// Decodes an event of `lines` lines, the empty line at its end not counted.
fn decode_event(block: &[u8], lines: usize, first: bool, each: &mut impl FnMut(Frame<'_>)) {
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

/// Removes the first line from `rest` and returns it without its line end; a CRLF is one line end.
pub(crate) fn next_line<'b>(rest: &mut &'b [u8]) -> &'b [u8] {
    let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
    let (line, after) = rest.split_at(end);
    let ending = if after.starts_with(b"\r\n") { 2 } else { after.len().min(1) };
    *rest = &after[ending..];
    line
}

fn without_line_ends(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r'] = line {
        line = rest;
    }
    line
}

/// Splits a line into field name and value; the name of a comment is empty.
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

    /// Name and data of each event.
    type Events = Vec<(String, String)>;

    fn decode_all(chunks: &[&[u8]], limit: usize) -> (Events, Vec<u8>, bool) {
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

    fn events(text: &str) -> Events {
        decode_all(&[text.as_bytes()], 1000).0
    }

    fn expected(pairs: &[(&str, &str)]) -> Events {
        pairs.iter().map(|(name, data)| ((*name).into(), (*data).into())).collect()
    }

    #[test]
    fn fields_are_decoded_as_the_standard_specifies() {
        assert_eq!(events("data: a\n\n"), expected(&[("", "a")]));
        assert_eq!(events("data:a\ndata\ndata:  b\n\n"), expected(&[("", "a\n\n b")]));
        assert_eq!(events(": hello\n\n:\n\ndata: x\n\n"), expected(&[("", "x")]));
        assert_eq!(events("data: x\nevent: e\nid: 1\nretry: 2\n\n"), expected(&[("e", "x")]));
        assert_eq!(events("event: e\n\ndata: y\n\n"), expected(&[("", "y")]));
        assert_eq!(events("\u{feff}data: x\n\n"), expected(&[("", "x")]));
        assert_eq!(events("data: x\n"), expected(&[]));
        assert_eq!(events("data:\n\n"), expected(&[("", "")]));
        assert_eq!(events("xdata: 1\ndata_: 2\n\n"), expected(&[]));
    }

    const MIXED: &str = "\u{feff}: hi\r\n\r\ndata: {\"a\":1}\r\n\r\nevent: two\rdata: b\r\r\n\ndata: c\ndata: d\n\nevent: f\r\ndata: \u{e9}\r\n\r\ndata: last\n\n\r\n";

    #[test]
    fn all_kinds_of_line_ends_end_lines_and_events() {
        let pairs = [("", "{\"a\":1}"), ("two", "b"), ("", "c\nd"), ("f", "\u{e9}"), ("", "last")];
        let (events, _, pending) = decode_all(&[MIXED.as_bytes()], 1000);
        assert_eq!((events, pending), (expected(&pairs), false));
    }

    #[test]
    fn any_split_into_chunks_gives_the_same_events() {
        let bytes = MIXED.as_bytes();
        let whole = decode_all(&[bytes], 1000);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let chunks = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(decode_all(&chunks, 1000), whole, "split at {first} and {second}");
            }
        }
        assert_eq!(decode_all(&bytes.chunks(1).collect::<Vec<_>>(), 1000), whole);
    }

    #[test]
    fn an_event_is_pending_until_its_empty_line() {
        for (text, pending) in
            [("data: x", true), ("data: x\n", true), ("data: x\n\n", false), ("data: x\r\r", false)]
        {
            assert_eq!(decode_all(&[text.as_bytes()], 1000).2, pending, "{text:?}");
        }
        assert!(!decode_all(&[b"data: x\r\n\r", b"\n"], 1000).2);
    }

    #[test]
    fn an_event_over_the_limit_is_passed_on_in_pieces() {
        let text = "data: 1\n\nevent: x\ndata: 0123456789\n\ndata: 2\n\n";
        let long = "event: x\ndata: 0123456789\n\n";
        for size in 1..8 {
            let chunks: Vec<_> = text.as_bytes().chunks(size).collect();
            let (events, pieces, pending) = decode_all(&chunks, 12);
            assert_eq!(events, expected(&[("", "1"), ("", "2")]), "chunks of {size}");
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
    fn the_length_of_an_incomplete_event_is_known() {
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
    fn the_buffer_stays_under_the_limit() {
        let mut sse = Sse::new(1024);
        for _ in 0..10_000 {
            sse.push(&[b'x'; 100], |_| {});
            assert!(sse.buffer.capacity() <= 2048);
        }
    }
}
