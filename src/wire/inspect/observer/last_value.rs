//! The last value under one key of a body that passes in chunks.

use memchr::memmem::Finder;

use crate::wire::inspect::usage::LONGEST;

/// Room for an object with the details of all its counts, and the little that mostly follows it.
const USUAL: usize = 512;

/// Keeps what follows the last `"usage":` of a body, or another key.
///
/// Within a JSON text a quote is written `\"`, so `"usage"` with both its quotes is never part of a
/// longer text, and with a colon behind it, it is a key. OpenAI and its likes put it once into a body,
/// behind the answer. To look for it costs a tenth of what walking over the body would.
#[derive(Debug)]
pub(crate) struct LastValue {
    /// Of the key with its quotes.
    finder: &'static Finder<'static>,
    object: Vec<u8>,
    /// The name has passed, and nothing but blanks since.
    named: bool,
    /// The last bytes that have passed: the name may begin in them.
    tail: Vec<u8>,
}

impl LastValue {
    /// Of the key, with its quotes, that this finds.
    pub(crate) fn of(finder: &'static Finder<'static>) -> Self {
        Self { finder, object: Vec::new(), named: false, tail: Vec::new() }
    }

    /// Takes the next bytes.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        let finder = self.finder;
        let name = finder.needle().len();
        let mut behind = bytes;
        let mut joint = std::mem::take(&mut self.tail);
        let passed = joint.len();
        joint.extend_from_slice(&bytes[..bytes.len().min(name - 1)]);
        if let Some(at) = finder.find(&joint) {
            self.go_on(&[]);
            self.named = true;
            behind = &bytes[at + name - passed..];
        }
        while let Some(at) = finder.find(behind) {
            self.go_on(&behind[..at]);
            self.named = true;
            behind = &behind[at + name..];
        }
        self.go_on(behind);
        if bytes.len() >= name - 1 {
            joint.clear();
            joint.extend_from_slice(&bytes[bytes.len() - (name - 1)..]);
        } else {
            joint.drain(..joint.len().saturating_sub(name - 1));
        }
        self.tail = joint;
    }

    /// The value, and whatever stands behind it.
    pub(crate) fn object(&self) -> &[u8] {
        &self.object
    }

    /// Takes bytes in which the name does not stand.
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
            last.hear(chunk);
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
        last.hear(br#"{"usage":{"#);
        for _ in 0..100 {
            last.hear(&[b' '; 1000]);
        }
        assert!(last.object.len() <= LONGEST);
    }
}
