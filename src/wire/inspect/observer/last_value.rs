//! Captures the last value of one key in a body that arrives in chunks.

use memchr::memmem::Finder;

use crate::wire::inspect::usage::LONGEST;
use crate::wire::json::member_finder::MemberFinder;

/// The initial capacity: an object with the details of all its counts, and the few bytes that usually
/// follow it.
const USUAL: usize = 512;

/// Keeps the bytes after the last `"usage":` of a body, or after another key.
///
/// Within a JSON string a quote is written `\"`, so `"usage"` with both quotes is never part of a longer
/// string, and with a colon after it, it is a key. OpenAI and compatible providers send it once per body,
/// after the output. This search costs a tenth of a scan of the whole body.
#[derive(Debug)]
pub(crate) struct LastValue {
    finder: MemberFinder,
    object: Vec<u8>,
    /// True if only blanks have followed the key.
    named: bool,
}

impl LastValue {
    /// Creates a capture for the key that `finder` finds, with its quotes.
    pub(crate) fn of(finder: &'static Finder<'static>) -> Self {
        Self { finder: MemberFinder::new(finder), object: Vec::new(), named: false }
    }

    /// Reads the next bytes.
    pub(crate) fn observe(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = self.finder.find(rest) {
            self.go_on(&rest[..end.saturating_sub(self.finder.name_len())]);
            self.named = true;
            rest = &rest[end..];
        }
        self.go_on(rest);
    }

    /// Returns the value and the bytes after it.
    pub(crate) fn object(&self) -> &[u8] {
        &self.object
    }

    /// Reads bytes that do not contain the key.
    fn go_on(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if self.named {
            bytes = bytes.trim_ascii_start();
            let Some(first) = bytes.first() else { return };
            self.named = false;
            if *first == b':' {
                self.object.clear();
                self.object.reserve(USUAL);
                bytes = &bytes[1..];
                self.object.push(b' ');
            }
        }
        if !self.object.is_empty() {
            let room = LONGEST.saturating_sub(self.object.len());
            self.object.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""usage""#));

    const BODY: &[u8] =
        br#"{"choices":[{"message":{"content":"say \"usage\": {1}","name":"usage"}}],
        "usage" : {"prompt_tokens":7},"x":"usage"}"#;

    fn kept(chunks: &[&[u8]]) -> String {
        let mut last = LastValue::of(&USAGE);
        for chunk in chunks {
            last.observe(chunk);
        }
        String::from_utf8_lossy(last.object()).into_owned()
    }

    #[test]
    fn any_cut_into_two_finds_the_key_and_no_text() {
        for at in 0..=BODY.len() {
            let object = kept(&[&BODY[..at], &BODY[at..]]);
            assert!(
                object.trim_start().starts_with(r#"{"prompt_tokens":7}"#),
                "cut at {at}: {object:?}"
            );
        }
        let single: Vec<&[u8]> = BODY.chunks(1).collect();
        assert!(kept(&single).trim_start().starts_with(r#"{"prompt_tokens":7}"#));
    }

    #[test]
    fn nothing_is_kept_of_a_body_without_it() {
        assert_eq!(kept(&[br#"{"data":[]}"#]), "");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut last = LastValue::of(&USAGE);
        last.observe(br#"{"usage":{"#);
        for _ in 0..100 {
            last.observe(&[b' '; 1000]);
        }
        assert!(last.object.len() <= LONGEST);
    }
}
