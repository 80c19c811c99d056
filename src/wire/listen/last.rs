//! The usage object of a body that passes in chunks.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::usage::LONGEST;

const NAME: &[u8] = br#""usage""#;
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NAME));

/// Keeps what follows the last `"usage":` of a body.
///
/// Within a JSON text a quote is written `\"`, so `"usage"` with both its quotes is never part of a
/// longer text, and with a colon behind it, it is a key. OpenAI and its likes put it once into a body,
/// behind the answer. To look for it costs a tenth of what walking over the body would.
#[derive(Debug, Default)]
pub(super) struct LastUsage {
    object: Vec<u8>,
    /// The name has passed, and nothing but blanks since.
    named: bool,
    /// The last bytes that have passed: the name may begin in them.
    tail: Vec<u8>,
}

impl LastUsage {
    /// Takes the next bytes.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        let mut behind = bytes;
        let mut joint = std::mem::take(&mut self.tail);
        let passed = joint.len();
        joint.extend_from_slice(&bytes[..bytes.len().min(NAME.len() - 1)]);
        if let Some(at) = FINDER.find(&joint) {
            self.go_on(&[]);
            self.named = true;
            behind = &bytes[at + NAME.len() - passed..];
        }
        while let Some(at) = FINDER.find(behind) {
            self.go_on(&behind[..at]);
            self.named = true;
            behind = &behind[at + NAME.len()..];
        }
        self.go_on(behind);
        if bytes.len() >= NAME.len() - 1 {
            joint.clear();
            joint.extend_from_slice(&bytes[bytes.len() - (NAME.len() - 1)..]);
        } else {
            joint.drain(..joint.len().saturating_sub(NAME.len() - 1));
        }
        self.tail = joint;
    }

    /// The object, and whatever stands behind it.
    pub(super) fn object(&self) -> &[u8] {
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
    use super::*;

    const BODY: &[u8] =
        br#"{"choices":[{"message":{"content":"say \"usage\": {1}","name":"usage"}}],
        "usage" : {"prompt_tokens":7},"x":"usage"}"#;

    fn kept(chunks: &[&[u8]]) -> String {
        let mut last = LastUsage::default();
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
        let mut last = LastUsage::default();
        last.hear(br#"{"usage":{"#);
        for _ in 0..100 {
            last.hear(&[b' '; 1000]);
        }
        assert!(last.object.len() <= LONGEST);
    }
}
