//! Rewrites string values of named members in JSON that passes through, and leaves all other bytes as they
//! are. The gateway uses it to sign ids with the key that they belong to, and to remove the signature again.

use memchr::{memchr, memchr2};

/// The longest value that is rewritten. A longer one is not an id and passes unchanged.
const MAX_VALUE: usize = 2048;
/// The longest member name that can be matched.
const MAX_NAME: usize = 24;

/// The place of a value in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValuePlace<'r> {
    /// Number of objects and lists around the value.
    pub depth: usize,
    /// The name of the outermost object's member that contains the value; empty for that object's direct
    /// members.
    pub within: &'r [u8],
    /// The name of the value's own member.
    pub name: &'r [u8],
}

/// Returns the new text of a wanted member's value; `None` leaves it unchanged.
type Change<'c> = dyn FnMut(ValuePlace<'_>, &[u8]) -> Option<String> + 'c;

/// Rewrites string values of JSON that arrives in chunks: one document, or a stream with one in each event.
/// Buffers at most one value that may be rewritten.
#[derive(Debug)]
pub struct Rewriter {
    /// Selects by name the members that may be rewritten. The values of all others are never buffered.
    wanted: fn(&[u8]) -> bool,
    state: State,
    /// The last string, if it can be a member's name. After a `:` follows its value.
    name: Vec<u8>,
    /// Set when the last byte outside strings and white space is `:`.
    after_colon: bool,
    depth: usize,
    /// The name of the outermost object's member that contains the current position.
    within: Vec<u8>,
    /// The buffered value, without its opening quote.
    value: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Outside of strings.
    Outside,
    /// In a string that passes unchanged.
    Passing { escaped: bool },
    /// In a string that may be rewritten.
    Buffering { escaped: bool },
}

impl Rewriter {
    /// Creates a rewriter of the members whose names `wanted` accepts.
    pub fn new(wanted: fn(&[u8]) -> bool) -> Self {
        let (name, within, value) = (Vec::new(), Vec::new(), Vec::new());
        Self { wanted, state: State::Outside, name, after_colon: false, depth: 0, within, value }
    }

    /// Processes the next bytes and appends the finished output to `out`. Calls `change` for each string
    /// value of a wanted member, with its place and its text as written.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>, change: &mut Change<'_>) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Outside => self.outside(bytes, out),
                State::Passing { escaped } => self.passing(bytes, out, escaped),
                State::Buffering { escaped } => self.buffering(bytes, out, escaped, change),
            };
        }
    }

    /// Returns the buffered bytes after the last chunk.
    pub fn rest(&mut self) -> Vec<u8> {
        if self.state == State::Outside || self.value.is_empty() {
            return Vec::new();
        }
        std::mem::take(&mut self.value)
    }

    fn outside<'b>(&mut self, bytes: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
        let end = memchr(b'"', bytes).unwrap_or(bytes.len());
        for byte in bytes[..end].iter().filter(|byte| !byte.is_ascii_whitespace()) {
            match byte {
                b'{' | b'[' => {
                    if self.depth == 1 {
                        self.within.clone_from(&self.name);
                    }
                    self.depth += 1;
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth <= 1 {
                        self.within.clear();
                    }
                }
                _ => {}
            }
            self.after_colon = *byte == b':';
        }
        out.extend_from_slice(&bytes[..end]);
        if end == bytes.len() {
            return &[];
        }
        out.push(b'"');
        let wanted = self.name.len() <= MAX_NAME && (self.wanted)(&self.name);
        self.state = if self.after_colon && wanted {
            State::Buffering { escaped: false }
        } else {
            self.name.clear();
            State::Passing { escaped: false }
        };
        self.value.clear();
        &bytes[end + 1..]
    }

    fn passing<'b>(&mut self, bytes: &'b [u8], out: &mut Vec<u8>, escaped: bool) -> &'b [u8] {
        let (end, closed, escaped) = string_end(bytes, escaped);
        let room = (MAX_NAME + 1).saturating_sub(self.name.len());
        let text = &bytes[..end - usize::from(closed)];
        self.name.extend_from_slice(&text[..text.len().min(room)]);
        out.extend_from_slice(&bytes[..end]);
        self.state = if closed { State::Outside } else { State::Passing { escaped } };
        if closed {
            self.after_colon = false;
        }
        &bytes[end..]
    }

    fn buffering<'b>(
        &mut self,
        bytes: &'b [u8],
        out: &mut Vec<u8>,
        escaped: bool,
        change: &mut Change<'_>,
    ) -> &'b [u8] {
        let (end, closed, escaped) = string_end(bytes, escaped);
        self.value.extend_from_slice(&bytes[..end - usize::from(closed)]);
        if closed {
            let at = ValuePlace { depth: self.depth, within: &self.within, name: &self.name };
            match change(at, &self.value) {
                Some(text) => out.extend_from_slice(text.as_bytes()),
                None => out.extend_from_slice(&self.value),
            }
            out.push(b'"');
            self.value.clear();
            self.name.clear();
            self.after_colon = false;
            self.state = State::Outside;
        } else if self.value.len() > MAX_VALUE {
            out.append(&mut self.value);
            self.name.clear();
            self.state = State::Passing { escaped };
        } else {
            self.state = State::Buffering { escaped };
        }
        &bytes[end..]
    }
}

/// Returns the offset after the closing quote, or the length if there is none; whether the quote was found;
/// and whether the next chunk's first byte is escaped by a backslash.
fn string_end(bytes: &[u8], escaped: bool) -> (usize, bool, bool) {
    let mut at = usize::from(escaped);
    loop {
        match bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            None => return (bytes.len(), false, at > bytes.len()),
            Some(found) if bytes[at + found] == b'"' => return (at + found + 1, true, false),
            Some(found) => at += found + 2,
        }
    }
}

/// Rewrites a whole document.
pub fn rewrite(document: &[u8], wanted: fn(&[u8]) -> bool, change: &mut Change<'_>) -> Vec<u8> {
    let mut rewriter = Rewriter::new(wanted);
    let mut out = Vec::with_capacity(document.len() + 64);
    rewriter.push(document, &mut out, change);
    out.extend_from_slice(&rewriter.rest());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &[u8] =
        br#"data: {"id": "resp_1","n":[{"id":"x\"y"},"id","file_id"],"a":{"file_id" : "f"},
        "text":"\"id\":\"resp_2\"","id":7,"long_long_long_long_long_id":"z","t":"id"}

data: {"id":"resp_3"}"#;

    fn is_id(name: &[u8]) -> bool {
        name.ends_with(b"id")
    }

    #[expect(clippy::unnecessary_wraps, reason = "must have the type of `change`")]
    fn mark(_: ValuePlace<'_>, value: &[u8]) -> Option<String> {
        Some(format!("<{}>", String::from_utf8_lossy(value)))
    }

    #[test]
    fn only_values_of_wanted_members_change() {
        let text = String::from_utf8(rewrite(DOCUMENT, is_id, &mut mark)).unwrap();
        let expected = String::from_utf8(DOCUMENT.to_vec()).unwrap();
        let expected = expected
            .replace(r#""id": "resp_1""#, r#""id": "<resp_1>""#)
            .replace(r#"{"id":"x\"y"}"#, r#"{"id":"<x\"y>"}"#)
            .replace(r#""file_id" : "f""#, r#""file_id" : "<f>""#)
            .replace(r#""id":"resp_3""#, r#""id":"<resp_3>""#);
        assert_eq!(text, expected);
    }

    #[test]
    fn change_receives_the_place_of_each_value() {
        let document = br#"{"id":"1","a":{"id":"2","l":[{"id":"3"}]},"id":"4","l":[[],{"id":"5"}]} {"id":"6"}"#;
        let mut seen = Vec::new();
        rewrite(document, is_id, &mut |at, value| {
            seen.push((at.depth, String::from_utf8_lossy(at.within).into_owned(), value[0]));
            None
        });
        let seen: Vec<_> =
            seen.iter().map(|(depth, within, id)| (*depth, &**within, *id)).collect();
        let expected = [
            (1, "", b'1'),
            (2, "a", b'2'),
            (4, "a", b'3'),
            (1, "", b'4'),
            (3, "l", b'5'),
            (1, "", b'6'),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn chunks_of_any_size_give_the_same_output() {
        let whole = rewrite(DOCUMENT, is_id, &mut mark);
        for size in 1..40 {
            let (mut rewriter, mut out) = (Rewriter::new(is_id), Vec::new());
            for piece in DOCUMENT.chunks(size) {
                rewriter.push(piece, &mut out, &mut mark);
            }
            out.extend_from_slice(&rewriter.rest());
            assert_eq!(out, whole, "{size}");
        }
    }

    #[test]
    fn a_truncated_document_keeps_all_its_bytes() {
        for end in 0..DOCUMENT.len() {
            let kept = rewrite(&DOCUMENT[..end], is_id, &mut |_, _| None);
            assert_eq!(kept, &DOCUMENT[..end]);
        }
    }

    #[test]
    fn the_buffer_is_bounded() {
        let (mut rewriter, mut out) = (Rewriter::new(is_id), Vec::new());
        rewriter.push(br#"{"id":""#, &mut out, &mut mark);
        for _ in 0..100 {
            rewriter.push(&[b'a'; 1000], &mut out, &mut mark);
            assert!(rewriter.value.capacity() <= 8 * MAX_VALUE);
        }
        rewriter.push(b"\"}", &mut out, &mut mark);
        assert_eq!(out.len(), 7 + 100_000 + 2);
    }
}
