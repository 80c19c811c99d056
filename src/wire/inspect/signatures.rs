//! Finds signatures: signed or encrypted data of a model's reasoning that a provider sends and the client
//! returns. OpenAI's signatures can be decrypted only for the organization that received them, so a request
//! that returns one must reach the same key.
//!
//! A signature is identified by a digest of its letters and digits: clients decode and re-encode it, some
//! of them in the other base64 alphabet or without padding.

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;

use crate::wire::api::Operation;
use crate::wire::json::digest::Digest;
use crate::wire::json::member_finder::MemberFinder;

/// A value with fewer letters and digits is not a signature.
const SHORTEST: usize = 24;
/// The maximum number of signatures returned for a request. The latest are returned; the others are older.
const MOST: usize = 8;

/// Returns the end of the member names under which an operation has its signatures, including the quote.
fn name(operation: Operation) -> &'static Finder<'static> {
    static ENCRYPTED: LazyLock<Finder<'static>> =
        LazyLock::new(|| Finder::new(b"encrypted_content\""));
    static SIGNATURE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"ignature\""));
    match operation {
        Operation::Responses | Operation::ResponsesCompact | Operation::StoredResponses => {
            &ENCRYPTED
        }
        // `signature` of Anthropic and Bedrock, `thoughtSignature` of Gemini, and `thought_signature` in
        // OpenAI's format.
        _ => &SIGNATURE,
    }
}

/// Returns the signatures that a client returns in a request, the latest first.
pub fn brought(operation: Operation, body: &[u8]) -> Vec<u64> {
    let name = name(operation);
    let mut latest = [None; MOST];
    let mut count = 0;
    for at in name.find_iter(body) {
        if let Some(signature) = seal_behind(&body[at + name.needle().len()..]) {
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

/// Finds the signatures in a response that arrives in pieces.
#[derive(Debug)]
pub struct Watch {
    name: MemberFinder,
    state: State,
}

#[derive(Debug)]
enum State {
    Looking,
    /// After the name.
    Named,
    Within(Signature),
}

impl Watch {
    /// Creates a watch for responses of this operation.
    pub fn new(operation: Operation) -> Self {
        Self { name: MemberFinder::new(name(operation)), state: State::Looking }
    }

    /// Reads the next piece, and calls `found` for each signature that ends in it.
    pub fn observe(&mut self, piece: &[u8], found: &mut dyn FnMut(u64)) {
        let mut rest = piece;
        while let Some(first) = rest.first() {
            match &mut self.state {
                State::Looking => {
                    let Some(end) = self.name.find(rest) else { break };
                    rest = &rest[end..];
                    self.state = State::Named;
                }
                State::Named => {
                    match first {
                        b'"' => self.state = State::Within(Signature::default()),
                        byte if *byte == b':' || byte.is_ascii_whitespace() => {}
                        _ => self.state = State::Looking,
                    }
                    rest = &rest[1..];
                }
                State::Within(signature) => {
                    let end = memchr(b'"', rest);
                    signature.write(&rest[..end.unwrap_or(rest.len())]);
                    let Some(end) = end else { break };
                    rest = &rest[end + 1..];
                    if let Some(signature) = signature.finish() {
                        found(signature);
                    }
                    self.state = State::Looking;
                }
            }
        }
    }
}

/// The digest of a signature that arrives in pieces.
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
        watch.observe(first, &mut |signature| found.push(signature));
        rest.chunks(3)
            .for_each(|piece| watch.observe(piece, &mut |signature| found.push(signature)));
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
