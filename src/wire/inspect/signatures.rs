//! Seals: what a provider signs or encrypts of a model's thoughts, for the caller to bring back. OpenAI's
//! opens for the organization that it was made for only, so whoever brings one back must reach the same key.
//!
//! A signature is known by a digest of its letters and digits: clients decode it and write it anew, some of them in
//! the other alphabet of base64 or without its padding.

use memchr::memchr;
use memchr::memmem::Finder;

use crate::wire::api::Operation;
use crate::wire::json::digest::Digest;

/// A value with fewer letters and digits is no signature.
const SHORTEST: usize = 24;
/// So many of a request are told at most, the latest: the others are older.
const MOST: usize = 8;

/// How the names end under which an operation has its signatures, quote included.
fn name(operation: Operation) -> &'static [u8] {
    match operation {
        Operation::Responses | Operation::ResponsesCompact | Operation::StoredResponses => {
            b"encrypted_content\""
        }
        // `signature` of Anthropic and Bedrock, `thoughtSignature` of Gemini, and `thought_signature` where it
        // travels in OpenAI's format.
        _ => b"ignature\"",
    }
}

/// The signatures that a caller brings back, the latest first.
pub fn brought(operation: Operation, body: &[u8]) -> Vec<u64> {
    let name = name(operation);
    let mut latest = [None; MOST];
    let mut count = 0;
    for at in Finder::new(name).find_iter(body) {
        if let Some(signature) = seal_behind(&body[at + name.len()..]) {
            latest[count % MOST] = Some(signature);
            count += 1;
        }
    }
    (1..=MOST.min(count)).filter_map(|back| latest[(count - back) % MOST]).collect()
}

fn seal_behind(bytes: &[u8]) -> Option<u64> {
    let value =
        bytes.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let mut signature = Signature::default();
    signature.write(&value[..memchr(b'"', value)?]);
    signature.finish()
}

/// Finds the signatures of an answer that comes in pieces.
#[derive(Debug)]
pub struct Watch {
    name: Finder<'static>,
    state: State,
    /// The end of what was heard, in which the name may have begun.
    before: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Looking,
    /// Behind the name.
    Named,
    Within(Signature),
}

impl Watch {
    /// For answers of this operation.
    pub fn new(operation: Operation) -> Self {
        Self { name: Finder::new(name(operation)), state: State::Looking, before: Vec::new() }
    }

    /// Takes the next piece, and tells of each signature that ends in it.
    pub fn hear(&mut self, piece: &[u8], found: &mut dyn FnMut(u64)) {
        let length = self.name.needle().len();
        let mut at = self.begun_before(piece);
        while at < piece.len() {
            match &mut self.state {
                State::Looking => {
                    let Some(name) = self.name.find(&piece[at..]) else { break };
                    at += name + length;
                    self.state = State::Named;
                }
                State::Named => {
                    match piece[at] {
                        b'"' => self.state = State::Within(Signature::default()),
                        byte if byte == b':' || byte.is_ascii_whitespace() => {}
                        _ => self.state = State::Looking,
                    }
                    at += 1;
                }
                State::Within(signature) => {
                    let end = memchr(b'"', &piece[at..]);
                    signature.write(&piece[at..end.map_or(piece.len(), |end| at + end)]);
                    let Some(end) = end else { break };
                    at += end + 1;
                    if let Some(signature) = signature.finish() {
                        found(signature);
                    }
                    self.state = State::Looking;
                }
            }
        }
        let kept = piece.len().min(length - 1);
        let over = (self.before.len() + kept).saturating_sub(length - 1);
        self.before.drain(..over);
        self.before.extend_from_slice(&piece[piece.len() - kept..]);
    }

    /// How much of the piece belongs to a name that began in the one before.
    fn begun_before(&mut self, piece: &[u8]) -> usize {
        let needle = self.name.needle();
        if !matches!(self.state, State::Looking) || self.before.is_empty() {
            return 0;
        }
        // All but the name's last byte may stand before the piece.
        let ends = (1..needle.len().min(piece.len() + 1)).find(|here| {
            let (first, last) = needle.split_at(needle.len() - here);
            self.before.ends_with(first) && piece.starts_with(last)
        });
        if ends.is_some() {
            self.state = State::Named;
        }
        ends.unwrap_or_default()
    }
}

/// The digest of a signature that comes in pieces.
#[derive(Clone, Copy, Debug, Default)]
struct Signature {
    digest: Digest,
    length: usize,
}

impl Signature {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
            self.digest.byte(*byte);
            self.length += 1;
        }
    }

    fn finish(&self) -> Option<u64> {
        (self.length >= SHORTEST).then(|| self.digest.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "EqQBCkYIBxgCKkD+/abcdefghijklmnopqrstuvwxyz0123==";
    const TWO: &str = "gAAAAABo1234567890_-abcdefghijklmnopqrstuvwxyzABCD";

    fn heard(operation: Operation, answer: &[u8], cut: usize) -> Vec<u64> {
        let (mut watch, mut found) = (Watch::new(operation), Vec::new());
        let (first, rest) = answer.split_at(cut);
        watch.hear(first, &mut |signature| found.push(signature));
        rest.chunks(3).for_each(|piece| watch.hear(piece, &mut |signature| found.push(signature)));
        found
    }

    #[test]
    fn what_comes_in_an_answer_is_known_when_it_is_brought_back() {
        for (operation, name) in [
            (Operation::Messages, "signature"),
            (Operation::GenerateContent, "thoughtSignature"),
            (Operation::ConverseStream, "signature"),
            (Operation::Chat, "thought_signature"),
            (Operation::Responses, "encrypted_content"),
        ] {
            let answer = format!(
                r#"data: {{"{name}":"","text":"the \"{name}\":\"{ONE}\"","{name}" : "{ONE}","list":["{name}"],"{name}":"{TWO}"}}"#
            );
            let whole = heard(operation, answer.as_bytes(), answer.len());
            assert_eq!(whole.len(), 2, "{name}");
            for cut in 0..answer.len() {
                assert_eq!(heard(operation, answer.as_bytes(), cut), whole, "{name}, cut at {cut}");
            }
            let other = ONE.replace('+', "-").replace('/', "\\/").replace('=', "");
            let body = format!(r#"{{"a":[{{"{name}":"{other}"}},{{"{name}": "{TWO}"}}]}}"#);
            assert_eq!(brought(operation, body.as_bytes()), [whole[1], whole[0]], "{name}");
        }
    }

    #[test]
    fn of_many_the_latest_are_told() {
        let all: Vec<_> = (10..40).map(|n| format!(r#""signature":"{ONE}{n}","#)).collect();
        let body = all.concat();
        let all = brought(Operation::Messages, body.as_bytes());
        let last = brought(Operation::Messages, format!(r#""signature":"{ONE}39""#).as_bytes());
        assert_eq!((all.len(), all[0]), (MOST, last[0]));
        assert!(brought(Operation::Messages, br#"{"signature":"fn f()"}"#).is_empty());
    }
}
