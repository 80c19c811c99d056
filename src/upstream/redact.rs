//! Removes secrets from error bodies that providers echo them in.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};

use crate::secret::Secret;

/// No output of keymux contains this many consecutive characters of a secret.
const PIECE: usize = 6;

/// Returns the body with every piece of these secrets replaced by `***`.
pub(super) fn redact_all<'s>(secrets: impl IntoIterator<Item = &'s Secret>, body: Bytes) -> Bytes {
    secrets.into_iter().fold(body, |body, secret| redact(secret.expose().as_bytes(), body))
}

/// Returns the body with every piece of the secret replaced by `***`; the same bytes when it contains
/// none.
pub fn redact(secret: &[u8], body: Bytes) -> Bytes {
    let pieces: HashSet<&[u8]> = secret.windows(PIECE).collect();
    let mut is_secret = vec![false; body.len()];
    for (start, window) in body.windows(PIECE).enumerate() {
        if pieces.contains(window) {
            is_secret[start..start + PIECE].fill(true);
        }
    }
    if !is_secret.contains(&true) {
        return body;
    }
    let mut out = BytesMut::with_capacity(body.len());
    let mut start = 0;
    for run in is_secret.chunk_by(|a, b| a == b) {
        out.extend_from_slice(if run[0] { b"***" } else { &body[start..start + run.len()] });
        start += run.len();
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(secret: &str, body: &'static str) -> String {
        let body = redact(secret.as_bytes(), Bytes::from(body));
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn a_secret_is_removed_whole_or_in_part() {
        let secret = "sk-proj-abcdefghij";
        assert_eq!(redacted(secret, "bad key sk-proj-abcdefghij!"), "bad key ***!");
        assert_eq!(redacted(secret, "bad key sk-proj-****ghij"), "bad key *******ghij");
        assert_eq!(redacted(secret, "sk-proj-abcdefghij and cdefgh"), "*** and ***");
        assert_eq!(redacted(secret, "nothing of it"), "nothing of it");
    }

    #[test]
    fn a_secret_shorter_than_a_piece_never_matches() {
        assert_eq!(redacted("abc", "abcabcabc"), "abcabcabc");
    }
}
