//! Changing the values of named members of JSON on its way through, and nothing else of it: ids get the
//! sign of the key that they belong to, and lose it again.

use memchr::{memchr, memchr2};

/// A value longer than this is no id, and is passed on as it is.
const LONGEST: usize = 2048;
/// The longest name of a member that is looked for.
const LONGEST_NAME: usize = 24;

/// Where in a document a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At<'r> {
    /// How many objects and lists it is within.
    pub depth: usize,
    /// The name of the member of the outermost object that it is within; empty for that object's own.
    pub within: &'r [u8],
    /// Its name.
    pub name: &'r [u8],
}

/// What a value of a wanted member is changed to; `None`: nothing.
type Change<'c> = dyn FnMut(At<'_>, &[u8]) -> Option<String> + 'c;

/// Rewrites string values of JSON that comes in pieces: one document, or a stream with one in each event.
/// Holds back at most one value that may be an id.
#[derive(Debug)]
pub struct Rewriter {
    /// Which members may be changed; the values of all others are never held back.
    wanted: fn(&[u8]) -> bool,
    state: State,
    /// The last string outside of which we are, when it can be a name; what follows `:` is its value.
    name: Vec<u8>,
    colon: bool,
    depth: usize,
    /// The name of the member of the outermost object that we are within.
    within: Vec<u8>,
    /// A value that is looked at, without its opening quote.
    value: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// In a string that is passed on.
    Passing {
        escaped: bool,
    },
    /// In a string that may be changed.
    Holding {
        escaped: bool,
    },
}

impl Rewriter {
    /// For the members that `wanted` says of their names.
    pub fn new(wanted: fn(&[u8]) -> bool) -> Self {
        let (name, within, value) = (Vec::new(), Vec::new(), Vec::new());
        Self { wanted, state: State::Between, name, colon: false, depth: 0, within, value }
    }

    /// Takes the next bytes and gives out what is sure. `change` is asked for each string that is the
    /// value of a wanted member: its name and its text, as written.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>, change: &mut Change<'_>) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Between => self.between(bytes, out),
                State::Passing { escaped } => self.passing(bytes, out, escaped),
                State::Holding { escaped } => self.holding(bytes, out, escaped, change),
            };
        }
    }

    /// What is held back when there is nothing more to come.
    pub fn rest(&mut self) -> Vec<u8> {
        if self.state == (State::Between) || self.value.is_empty() {
            return Vec::new();
        }
        std::mem::take(&mut self.value)
    }

    fn between<'b>(&mut self, bytes: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
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
            self.colon = *byte == b':';
        }
        out.extend_from_slice(&bytes[..end]);
        if end == bytes.len() {
            return &[];
        }
        out.push(b'"');
        let name = self.name.len() <= LONGEST_NAME && (self.wanted)(&self.name);
        self.state = if self.colon && name {
            State::Holding { escaped: false }
        } else {
            self.name.clear();
            State::Passing { escaped: false }
        };
        self.value.clear();
        &bytes[end + 1..]
    }

    fn passing<'b>(&mut self, bytes: &'b [u8], out: &mut Vec<u8>, escaped: bool) -> &'b [u8] {
        let (end, closed, escaped) = string_end(bytes, escaped);
        let room = (LONGEST_NAME + 1).saturating_sub(self.name.len());
        let text = &bytes[..end - usize::from(closed)];
        self.name.extend_from_slice(&text[..text.len().min(room)]);
        out.extend_from_slice(&bytes[..end]);
        self.state = if closed { State::Between } else { State::Passing { escaped } };
        if closed {
            self.colon = false;
        }
        &bytes[end..]
    }

    fn holding<'b>(
        &mut self,
        bytes: &'b [u8],
        out: &mut Vec<u8>,
        escaped: bool,
        change: &mut Change<'_>,
    ) -> &'b [u8] {
        let (end, closed, escaped) = string_end(bytes, escaped);
        self.value.extend_from_slice(&bytes[..end - usize::from(closed)]);
        if closed {
            let at = At { depth: self.depth, within: &self.within, name: &self.name };
            match change(at, &self.value) {
                Some(text) => out.extend_from_slice(text.as_bytes()),
                None => out.extend_from_slice(&self.value),
            }
            out.push(b'"');
            self.value.clear();
            self.name.clear();
            self.colon = false;
            self.state = State::Between;
        } else if self.value.len() > LONGEST {
            out.append(&mut self.value);
            self.name.clear();
            self.state = State::Passing { escaped };
        } else {
            self.state = State::Holding { escaped };
        }
        &bytes[end..]
    }
}

/// Up to where a string goes, its closing quote included, whether that is there, and whether the next byte
/// stands behind a backslash.
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

/// A whole document rewritten.
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

    #[expect(clippy::unnecessary_wraps, reason = "it stands for a change")]
    fn mark(_: At<'_>, value: &[u8]) -> Option<String> {
        Some(format!("<{}>", String::from_utf8_lossy(value)))
    }

    #[test]
    fn values_of_members_change_and_nothing_else() {
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
    fn a_value_is_told_by_where_it_stands() {
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
    fn pieces_of_any_size_give_the_same() {
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
    fn a_document_that_breaks_off_keeps_all_its_bytes() {
        for end in 0..DOCUMENT.len() {
            let kept = rewrite(&DOCUMENT[..end], is_id, &mut |_, _| None);
            assert_eq!(kept, &DOCUMENT[..end]);
        }
    }

    #[test]
    fn what_is_held_back_is_bounded() {
        let (mut rewriter, mut out) = (Rewriter::new(is_id), Vec::new());
        rewriter.push(br#"{"id":""#, &mut out, &mut mark);
        for _ in 0..100 {
            rewriter.push(&[b'a'; 1000], &mut out, &mut mark);
            assert!(rewriter.value.capacity() <= 8 * LONGEST);
        }
        rewriter.push(b"\"}", &mut out, &mut mark);
        assert_eq!(out.len(), 7 + 100_000 + 2);
    }
}
