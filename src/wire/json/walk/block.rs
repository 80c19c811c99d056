//! Looking at eight bytes at a time, as one number.

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = EACH << 7;

/// The eight bytes from here on, when there are so many.
#[inline]
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}

/// How many bytes of the word stand before its first quote or backslash; `None` when it has none.
#[inline]
pub(crate) fn text_end(word: u64) -> Option<usize> {
    first((lowest(word, b'"') | lowest(word, b'\\')) & !word & HIGH)
}

/// How many bytes stand before the first quote or bracket, or before a rest of less than eight.
#[inline]
pub(crate) fn before_structure(bytes: &[u8]) -> usize {
    let mut passed = 0;
    for word in bytes.as_chunks::<8>().0 {
        let word = u64::from_le_bytes(*word);
        let quotes = lowest(word, b'"') & !word & HIGH;
        // Numbers, commas and blanks all lie below 0x40.
        if word & (EACH * 0x40) != 0 || quotes != 0 {
            // With this bit set, `[` and `]` are `{` and `}`.
            let folded = word | (EACH * 0x20);
            let brackets = (lowest(folded, b'{') | lowest(folded, b'}')) & !word & HIGH;
            if let Some(place) = first(quotes | brackets) {
                return passed + place;
            }
        }
        passed += 8;
    }
    passed
}

/// Has the highest bit of each byte that is `byte`. It may also have it of bytes that have it themselves,
/// which the caller takes out, and of bytes behind the first that is `byte`, which is the one asked for.
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
    fn the_first_telling_byte_is_found_at_every_place() {
        for byte in 0..=255_u8 {
            for place in 0..16 {
                // The neighbours differ by one, where a borrow would show.
                for other in [b' ', b'0', b'#', b'!', b'z', b'|', 0x80, 0xff, byte.wrapping_add(1)]
                {
                    let mut bytes = [other; 16];
                    bytes[place] = byte;
                    let expected =
                        |telling: &[u8]| bytes.iter().position(|byte| telling.contains(byte));
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
