//! A 64-bit hash of a text that is the same on every machine and in every release, so that several instances,
//! and an instance after its restart, agree on it.
//!
//! Each eight bytes are multiplied into the state and the two halves of the product are folded together, as
//! in wyhash: a fraction of a nanosecond a byte. It is not cryptographic: a client can construct two texts
//! with the same digest, and gains only a key that it could also have received by chance.

/// Odd: the fractional part of the golden ratio.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
/// The fractional part of the square root of two: the initial state, and what each step adds, so that the
/// state does not stay at zero.
const STEP: u64 = 0x6A09_E667_F3BC_C909;

/// The digest of the bytes written so far.
#[derive(Clone, Copy, Debug)]
pub struct Digest {
    state: u64,
    /// Bytes of an incomplete word, the first one lowest.
    pending: u64,
    /// Number of bytes in `pending`.
    filled: u32,
}

impl Default for Digest {
    fn default() -> Self {
        Self { state: STEP, pending: 0, filled: 0 }
    }
}

impl Digest {
    /// Adds bytes. How a text is split into calls makes no difference.
    pub fn write(&mut self, bytes: &[u8]) {
        let missing = if self.filled == 0 { 0 } else { 8 - self.filled as usize };
        let (first, rest) = bytes.split_at(missing.min(bytes.len()));
        for byte in first {
            self.byte(*byte);
        }
        let (words, last) = rest.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        for byte in last {
            self.byte(*byte);
        }
    }

    /// Adds one byte.
    pub fn byte(&mut self, byte: u8) {
        self.pending |= u64::from(byte) << (8 * self.filled);
        self.filled += 1;
        if self.filled == 8 {
            let word = std::mem::take(&mut self.pending);
            self.filled = 0;
            self.word(word);
        }
    }

    /// Ends a text; later bytes belong to the next text.
    #[must_use]
    pub fn end(mut self) -> Self {
        let (pending, filled) = (self.pending, u64::from(self.filled));
        (self.pending, self.filled) = (0, 0);
        self.word(pending);
        self.word(filled);
        self
    }

    /// Adds a whole text.
    #[must_use]
    pub fn text(mut self, text: &[u8]) -> Self {
        self.write(text);
        self.end()
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.text(&number.to_le_bytes())
    }

    /// Returns the digest of everything added.
    pub fn finish(self) -> u64 {
        let mut end = self.end();
        end.word(STEP);
        end.state
    }

    #[expect(clippy::cast_possible_truncation, reason = "the halves of a product")]
    fn word(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(FACTOR);
        self.state = ((product as u64) ^ ((product >> 64) as u64)).wrapping_add(STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"The quick brown fox jumps over the lazy dog.";

    #[test]
    fn any_split_of_a_text_gives_the_same_digest() {
        let whole = Digest::default().text(TEXT).finish();
        for first in 0..=TEXT.len() {
            for second in first..=TEXT.len() {
                let mut digest = Digest::default();
                digest.write(&TEXT[..first]);
                digest.write(&TEXT[first..second]);
                digest.write(&TEXT[second..]);
                assert_eq!(digest.end().finish(), whole, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn every_bit_changes_the_digest() {
        let whole = Digest::default().text(TEXT).finish();
        for bit in 0..TEXT.len() * 8 {
            let mut other = TEXT.to_vec();
            other[bit / 8] ^= 1 << (bit % 8);
            let changed = (Digest::default().text(&other).finish() ^ whole).count_ones();
            assert!((10..=54).contains(&changed), "{changed} bits of 64 differ for bit {bit}");
        }
        let two = Digest::default().text(b"ab").text(b"c").finish();
        assert_ne!(two, Digest::default().text(b"a").text(b"bc").finish());
        assert_ne!(Digest::default().text(b"\0").finish(), Digest::default().text(b"").finish());
    }

    #[test]
    fn the_digest_is_stable_across_releases() {
        assert_eq!(Digest::default().text(TEXT).finish(), 0xDB47_CCD7_3A8B_88A5);
    }
}
