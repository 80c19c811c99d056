//! Scans eight bytes at a time, as one integer (SWAR).

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = EACH << 7;

/// Returns the eight bytes at `at` as a little-endian integer; `None` if fewer are left.
#[inline]
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}

/// Returns how many bytes of the word precede its first quote or backslash; `None` if it has neither.
#[inline]
pub(crate) fn text_end(word: u64) -> Option<usize> {
    first((lowest(word, b'"') | lowest(word, b'\\')) & !word & HIGH)
}

/// Returns how many bytes precede the first quote or bracket, or the last incomplete word (under eight
/// bytes).
#[inline]
pub(crate) fn before_structure(bytes: &[u8]) -> usize {
    let mut scanned = 0;
    for word in bytes.as_chunks::<8>().0 {
        let word = u64::from_le_bytes(*word);
        let quotes = lowest(word, b'"') & !word & HIGH;
        // Digits, commas and white space are all below 0x40.
        if word & (EACH * 0x40) != 0 || quotes != 0 {
            // Setting bit 0x20 turns `[` and `]` into `{` and `}`.
            let folded = word | (EACH * 0x20);
            let brackets = (lowest(folded, b'{') | lowest(folded, b'}')) & !word & HIGH;
            if let Some(place) = first(quotes | brackets) {
                return scanned + place;
            }
        }
        scanned += 8;
    }
    scanned
}

/// Sets the highest bit of each byte that equals `byte`. The bit may also be set for bytes above 0x7f, which
/// the caller masks out, and, because of borrows, for bytes after the first match; only the first match is
/// used.
#[inline]
fn lowest(word: u64, byte: u8) -> u64 {
    (word ^ (EACH * u64::from(byte))).wrapping_sub(EACH)
}

#[inline]
fn first(found: u64) -> Option<usize> {
    (found != 0).then(|| (found.trailing_zeros() / 8) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wanted_byte_is_found_at_every_position() {
        for byte in 0..=255_u8 {
            for place in 0..16 {
                // Includes neighbours that differ by one, where a borrow would show.
                for other in [b' ', b'0', b'#', b'!', b'z', b'|', 0x80, 0xff, byte.wrapping_add(1)]
                {
                    let mut bytes = [other; 16];
                    bytes[place] = byte;
                    let expected =
                        |wanted: &[u8]| bytes.iter().position(|byte| wanted.contains(byte));
                    let text = expected(b"\"\\").filter(|place| *place < 8);
                    assert_eq!(text_end(word(&bytes, 0).unwrap()), text, "{bytes:?}");
                    let structure = expected(b"\"{}[]").unwrap_or(16);
                    assert_eq!(before_structure(&bytes), structure, "{bytes:?}");
                }
            }
        }
        assert_eq!((word(&[0; 8], 1), before_structure(b"0000000")), (None, 0));
    }
}
