//! Walking over the members of one JSON object without reading their values.
//!
//! The walk is resumable: the object may come in any number of chunks, and the [`Scanner`] keeps nothing
//! but a few numbers between them. It is what lets a request be routed, and the usage of an answer be
//! read, without parsing either.
//!
//! It follows structure only: which quote closes a string, which bracket closes a value. That brackets
//! match in kind, that numbers are numbers and that strings hold no control characters is left to who
//! reads the value. A text that passes here and is no JSON is refused by the provider.

mod block;

use memchr::memchr2;

/// Nesting beyond this is refused. Python's reader, behind which most providers stand, gives up near
/// 1000; nobody writes such a body in earnest.
const MAX_DEPTH: u32 = 1000;

/// Which half of a member a [`Piece`] belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
}

/// A run of bytes of one key or one value, as written: strings with their quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'b> {
    pub(crate) part: Part,
    pub(crate) bytes: &'b [u8],
    /// Where `bytes` begins, counted from the first byte of the first chunk.
    pub(crate) start: usize,
    /// `false`: the chunk ended first, the next piece goes on with the same key or value.
    pub(crate) ends: bool,
}

/// Where and why a text is not one JSON object. Offsets count from the first byte of the first chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The text ends within the object.
    Truncated { at: usize },
    /// Something else stands where `wanted` must.
    Unexpected { at: usize, wanted: &'static str },
    /// Brackets nest deeper than [`MAX_DEPTH`].
    TooDeep { at: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    FirstKey,
    NextKey,
    Key,
    Colon,
    Value,
    Text,
    Nested,
    Scalar,
    Comma,
    End,
}

/// The walk over one object. Feed it chunks with [`Scanner::next`].
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    /// Brackets open within the value being passed.
    depth: u32,
    /// Whether a string within a nested value is open.
    in_string: bool,
    /// Bytes of an escape that stand in the next chunk.
    owed: usize,
    /// Bytes passed so far.
    at: usize,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self { state: State::Start, depth: 0, in_string: false, owed: 0, at: 0 }
    }

    /// The next piece of a key or a value in `chunk`, which is shortened by what was passed; `None` when
    /// the chunk is used up.
    pub(crate) fn next<'b>(&mut self, chunk: &mut &'b [u8]) -> Result<Option<Piece<'b>>, Fault> {
        loop {
            if matches!(self.state, State::Key | State::Text | State::Nested | State::Scalar) {
                if chunk.is_empty() {
                    return Ok(None);
                }
                return self.piece(chunk).map(Some);
            }
            let blank = chunk.iter().take_while(|byte| is_blank(**byte)).count();
            self.pass(chunk, blank);
            let Some(&byte) = chunk.first() else { return Ok(None) };
            self.state = match (self.state, byte) {
                (State::FirstKey | State::NextKey, b'"') => State::Key,
                (State::Value, b'"') => State::Text,
                (State::Value, b'{' | b'[') => State::Nested,
                (State::Value, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => State::Scalar,
                (state, byte) => {
                    let next = match (state, byte) {
                        (State::Start, b'{') => State::FirstKey,
                        (State::FirstKey | State::Comma, b'}') => State::End,
                        (State::Colon, b':') => State::Value,
                        (State::Comma, b',') => State::NextKey,
                        _ => return Err(self.unexpected()),
                    };
                    self.pass(chunk, 1);
                    next
                }
            };
            if matches!(self.state, State::Key | State::Text) {
                // The opening quote must not be taken for the closing one.
                self.owed = 1;
            }
        }
    }

    /// To be asked after the last chunk: was this one whole object?
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        if self.state == State::End { Ok(()) } else { Err(Fault::Truncated { at: self.at }) }
    }

    /// Whether the object is closed: all that may follow is white space.
    pub(crate) fn ended(&self) -> bool {
        self.state == State::End
    }

    fn piece<'b>(&mut self, chunk: &mut &'b [u8]) -> Result<Piece<'b>, Fault> {
        let part = if self.state == State::Key { Part::Key } else { Part::Value };
        let end = match self.state {
            State::Nested => self.nested_end(chunk)?,
            State::Scalar => chunk.iter().position(|byte| is_blank(*byte) || b",}]".contains(byte)),
            _ => self.string_end(chunk),
        };
        if end.is_some() {
            self.state = if part == Part::Key { State::Colon } else { State::Comma };
        }
        let (bytes, start) = (&chunk[..end.unwrap_or(chunk.len())], self.at);
        self.pass(chunk, bytes.len());
        Ok(Piece { part, bytes, start, ends: end.is_some() })
    }

    /// Behind the quote that closes the string in which `bytes` begins.
    ///
    /// A call of memchr's costs as much as a walk over forty bytes in words of eight. Escapes come closer
    /// than that (`\n` at each line's end, `\"` in code, or all of a text as `\u4e2d\u6587`), so the walk comes
    /// first and the call after a long quiet run.
    fn string_end(&mut self, bytes: &[u8]) -> Option<usize> {
        const QUIET: usize = 16;
        let mut at = std::mem::take(&mut self.owed);
        let mut quiet = 0;
        while let Some(word) = block::word(bytes, at) {
            if let Some(length) = block::text_end(word) {
                at += length;
                quiet = 0;
                loop {
                    match bytes.get(at) {
                        Some(b'"') => return Some(at + 1),
                        // A quote among the four digits of a `\u` would be no JSON.
                        Some(b'\\') if bytes.get(at + 1) == Some(&b'u') => at += 6,
                        Some(b'\\') => at += 2,
                        _ => break,
                    }
                }
            } else if quiet < QUIET {
                (at, quiet) = (at + 8, quiet + 1);
            } else {
                (at, quiet) = (at + memchr2(b'"', b'\\', &bytes[at..])?, 0);
            }
        }
        loop {
            match bytes.get(at) {
                Some(b'\\') => at += 2,
                Some(b'"') => return Some(at + 1),
                Some(_) => at += 1,
                None => {
                    self.owed = at - bytes.len();
                    return None;
                }
            }
        }
    }

    /// Behind the bracket that closes the value in which `bytes` begins.
    fn nested_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let mut at = 0;
        loop {
            if self.in_string {
                let Some(length) = self.string_end(&bytes[at..]) else { return Ok(None) };
                self.in_string = false;
                at += length;
            }
            at += block::before_structure(&bytes[at..]);
            let Some(&byte) = bytes.get(at) else { return Ok(None) };
            at += 1;
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        return Err(Fault::TooDeep { at: self.at + at - 1 });
                    }
                }
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok(Some(at));
                    }
                }
                _ => {}
            }
        }
    }

    fn pass(&mut self, chunk: &mut &[u8], length: usize) {
        *chunk = &chunk[length..];
        self.at += length;
    }

    fn unexpected(&self) -> Fault {
        let wanted = match self.state {
            State::Start => "`{`",
            State::FirstKey => "a key or `}`",
            State::NextKey => "a key",
            State::Colon => "`:`",
            State::Comma => "`,` or `}`",
            State::End => "the end",
            State::Value | State::Key | State::Text | State::Nested | State::Scalar => "a value",
        };
        Fault::Unexpected { at: self.at, wanted }
    }
}

/// The values, as written, of those members of a whole object that carry one of these names; of a name
/// that comes twice, the last, as JSON readers have it. Nothing at all when the text is no object.
pub(crate) fn members<'b, const N: usize>(
    object: &'b [u8],
    names: [&str; N],
) -> [Option<&'b [u8]>; N] {
    let mut found = [None; N];
    let (mut scanner, mut rest) = (Scanner::new(), object);
    let mut wanted = None;
    while let Ok(Some(piece)) = scanner.next(&mut rest) {
        match (piece.part, wanted) {
            (Part::Key, _) => wanted = names.iter().position(|name| is_named(piece.bytes, name)),
            (Part::Value, Some(place)) => found[place] = Some(piece.bytes),
            (Part::Value, None) => {}
        }
    }
    if scanner.ended() { found } else { [None; N] }
}

/// The values in an array, as written, one after the other, or in the rest of one from a comma on; what is
/// neither has none. Ends early where the text is no JSON.
pub(crate) fn elements(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = array.trim_ascii_start();
    std::iter::from_fn(move || {
        let behind = rest.strip_prefix(b"[").or_else(|| rest.strip_prefix(b","))?;
        let (value, after) = behind.split_at(value_end(behind)?);
        rest = after.trim_ascii_start();
        Some(value.trim_ascii_start())
    })
}

/// Behind the value that `bytes` begin with, after white space.
pub(crate) fn value_end(bytes: &[u8]) -> Option<usize> {
    let mut scanner = Scanner { state: State::Value, ..Scanner::new() };
    let mut rest = bytes;
    let piece = scanner.next(&mut rest).ok()??;
    piece.ends.then(|| piece.start + piece.bytes.len())
}

/// Whether a key, as written with its quotes, is this name written without escapes.
pub(crate) fn is_named(key: &[u8], name: &str) -> bool {
    key.len() == name.len() + 2 && &key[1..=name.len()] == name.as_bytes()
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys and values of an object that comes in these chunks.
    fn walk(chunks: &[&[u8]]) -> Result<Vec<(String, String)>, Fault> {
        let (mut scanner, mut found) = (Scanner::new(), Vec::new());
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for chunk in chunks {
            let mut rest = *chunk;
            while let Some(piece) = scanner.next(&mut rest)? {
                let into = if piece.part == Part::Key { &mut key } else { &mut value };
                into.extend_from_slice(piece.bytes);
                if piece.ends && piece.part == Part::Value {
                    found.push((
                        String::from_utf8(std::mem::take(&mut key)).unwrap(),
                        String::from_utf8(std::mem::take(&mut value)).unwrap(),
                    ));
                }
            }
        }
        scanner.finish().map(|()| found)
    }

    const OBJECT: &str = " {\"a\\\"\" : \"b\\\\\" , \"\\u0061\":[{\"}\":\"\\u4e2d\\n]\"}, -1.5e3],\n\"c\":-12 ,\"d\":true,\"e\":{}}\r\n";

    #[test]
    fn members_are_passed_as_they_are_written() {
        let found = walk(&[OBJECT.as_bytes()]).unwrap();
        let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            found,
            [
                (r#""a\"""#, r#""b\\""#),
                (r#""\u0061""#, r#"[{"}":"\u4e2d\n]"}, -1.5e3]"#),
                (r#""c""#, "-12"),
                (r#""d""#, "true"),
                (r#""e""#, "{}"),
            ]
        );
    }

    #[test]
    fn any_cut_into_chunks_gives_the_same_members() {
        let bytes = OBJECT.as_bytes();
        let whole = walk(&[bytes]).unwrap();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let chunks = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(walk(&chunks).unwrap(), whole, "cut at {first} and {second}");
            }
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(walk(&single).unwrap(), whole);
    }

    #[test]
    fn every_prefix_of_an_object_is_truncated() {
        let bytes = OBJECT.trim_end().as_bytes();
        for end in 0..bytes.len() {
            assert_eq!(walk(&[&bytes[..end]]), Err(Fault::Truncated { at: end }));
        }
    }

    #[test]
    fn faults_say_where() {
        let unexpected = |at, wanted| Err(Fault::Unexpected { at, wanted });
        assert_eq!(walk(&[b"[]"]), unexpected(0, "`{`"));
        assert_eq!(walk(&[b"{1:2}"]), unexpected(1, "a key or `}`"));
        assert_eq!(walk(&[b"{\"a\" 1}"]), unexpected(5, "`:`"));
        assert_eq!(walk(&[b"{\"a\":,}"]), unexpected(5, "a value"));
        assert_eq!(walk(&[b"{\"a\":1 ]"]), unexpected(7, "`,` or `}`"));
        assert_eq!(walk(&[b"{\"a\":1,}"]), unexpected(7, "a key"));
        assert_eq!(walk(&[b"{\"a\":1}", b" x"]), unexpected(8, "the end"));
        let deep = ["{\"a\":", &"[".repeat(2000)].concat();
        assert_eq!(walk(&[deep.as_bytes()]), Err(Fault::TooDeep { at: 1005 }));
    }

    #[test]
    fn the_elements_of_an_array_come_as_they_are_written() {
        let list = |array: &'static str| -> Vec<&str> {
            elements(array.as_bytes()).map(|value| std::str::from_utf8(value).unwrap()).collect()
        };
        assert_eq!(
            list(" [ {\"a\":[1,2]} ,\"],\" , 7,[]]"),
            ["{\"a\":[1,2]}", "\"],\"", "7", "[]"]
        );
        assert_eq!(list("[]"), [""; 0]);
        assert_eq!(list("\"text\""), [""; 0]);
        assert_eq!(list("[1,[2"), ["1"]);
        assert_eq!(list(" ,2,{}]"), ["2", "{}"]);
    }

    #[test]
    fn named_members_are_found_in_whole_objects_only() {
        let object = br#"{"a":1,"b":"x","a":{"b":2}}"#;
        assert_eq!(
            members(object, ["b", "a", "c"]),
            [Some(&br#""x""#[..]), Some(&br#"{"b":2}"#[..]), None]
        );
        assert_eq!(members(&object[..20], ["b"]), [None]);
        assert_eq!(members(b"no", ["b"]), [None]);
    }
}
