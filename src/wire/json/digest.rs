//! A short number for a long text, the same on every machine and in every release, so that instances
//! beside each other, and the next one after a restart, agree on it.
//!
//! Each eight bytes are multiplied into the state and the two halves of the product folded together, as
//! wyhash and its kin do: a fraction of a nanosecond a byte. Whoever knows it can make two texts meet, and
//! wins nothing but a key that it would have got by chance.

/// Odd: the fractional part of the golden ratio.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
/// The fractional part of the square root of two: what an empty state starts from, and never returns to.
const STEP: u64 = 0x6A09_E667_F3BC_C909;

/// The digest of what was written so far.
#[derive(Clone, Copy, Debug)]
pub struct Digest {
    state: u64,
    /// Bytes that do not make a word yet, the first one lowest.
    held: u64,
    /// How many of them.
    filled: u32,
}

impl Default for Digest {
    fn default() -> Self {
        Self { state: STEP, held: 0, filled: 0 }
    }
}

impl Digest {
    /// Takes the next bytes. Where they are cut makes no difference.
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

    /// Takes one byte.
    pub fn byte(&mut self, byte: u8) {
        self.held |= u64::from(byte) << (8 * self.filled);
        self.filled += 1;
        if self.filled == 8 {
            let held = std::mem::take(&mut self.held);
            self.filled = 0;
            self.word(held);
        }
    }

    /// Ends a text: what follows belongs to another one.
    #[must_use]
    pub fn end(mut self) -> Self {
        let (held, filled) = (self.held, u64::from(self.filled));
        (self.held, self.filled) = (0, 0);
        self.word(held);
        self.word(filled);
        self
    }

    /// A text as a whole.
    #[must_use]
    pub fn text(mut self, text: &[u8]) -> Self {
        self.write(text);
        self.end()
    }

    /// Another number.
    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.text(&number.to_le_bytes())
    }

    /// The number that stands for all of it.
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
    fn where_a_text_is_cut_makes_no_difference() {
        let whole = Digest::default().text(TEXT).finish();
        for first in 0..=TEXT.len() {
            for second in first..=TEXT.len() {
                let mut digest = Digest::default();
                digest.write(&TEXT[..first]);
                digest.write(&TEXT[first..second]);
                digest.write(&TEXT[second..]);
                assert_eq!(digest.end().finish(), whole, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn every_bit_counts() {
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
    fn it_is_the_same_in_every_release() {
        assert_eq!(Digest::default().text(TEXT).finish(), 0xDB47_CCD7_3A8B_88A5);
    }
}
