//! Replaces ranges of a body and copies all other bytes unchanged.

use std::ops::Range;

/// A new body made of an old one. Ranges must be given in ascending order and must not overlap.
#[derive(Debug)]
pub(crate) struct Splice<'b> {
    body: &'b [u8],
    out: Vec<u8>,
    /// Bytes of `body` that are already in `out`, or replaced.
    copied: usize,
}

impl<'b> Splice<'b> {
    /// Starts a splice of `body`. `growth` is the expected growth in bytes.
    pub(crate) fn new(body: &'b [u8], growth: usize) -> Self {
        Self { body, out: Vec::with_capacity(body.len() + growth), copied: 0 }
    }

    /// Puts `replacement` in the place of `range`.
    pub(crate) fn replace(&mut self, range: Range<usize>, replacement: &[u8]) {
        self.copy_until(range.start);
        self.out.extend_from_slice(replacement);
        self.copied = range.end;
    }

    /// Removes the member of an object in `range`, with the comma after it; for the last member, with the
    /// comma before it.
    pub(crate) fn remove_member(&mut self, range: Range<usize>) {
        self.copy_until(range.start);
        self.copied = range.end;
        let rest = self.body.get(range.end..).unwrap_or_default();
        let white_space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if rest.get(white_space) == Some(&b',') {
            self.copied += white_space + 1;
            return;
        }
        let before = self.out.trim_ascii_end();
        if before.ends_with(b",") {
            self.out.truncate(before.len() - 1);
        }
    }

    /// Returns whether nothing was replaced or removed.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.copied == 0
    }

    /// Returns the new body.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.copy_until(self.body.len());
        self.out
    }

    fn copy_until(&mut self, end: usize) {
        self.out.extend_from_slice(self.body.get(self.copied..end).unwrap_or_default());
    }
}

/// Returns the range of `part` in `body`, of which it must be a non-empty slice.
pub(crate) fn range_of(body: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(body.as_ptr().addr());
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_given_ranges_change() {
        let body = br#"{ "a" : 1, "b":22 }"#;
        let mut splice = Splice::new(body, 8);
        assert!(splice.is_unchanged());
        splice.replace(8..9, b"\"one\"");
        splice.replace(range_of(body, &body[15..17]), b"2");
        assert!(!splice.is_unchanged());
        assert_eq!(splice.finish(), br#"{ "a" : "one", "b":2 }"#);
        assert_eq!(Splice::new(body, 0).finish(), body);
    }

    #[test]
    fn a_removed_member_takes_one_comma_with_it() {
        let removed = |body: &str, members: &[&str]| {
            let mut splice = Splice::new(body.as_bytes(), 0);
            for member in members {
                let start = body.find(member).unwrap();
                splice.remove_member(start..start + member.len());
            }
            String::from_utf8(splice.finish()).unwrap()
        };
        let body = r#"{"a":1 , "b":2 , "c":3 }"#;
        assert_eq!(removed(body, &[r#""a":1"#]), r#"{ "b":2 , "c":3 }"#);
        assert_eq!(removed(body, &[r#""c":3"#]), r#"{"a":1 , "b":2  }"#);
        assert_eq!(removed(body, &[r#""b":2"#, r#""c":3"#]), r#"{"a":1  }"#);
        assert_eq!(removed(r#"{"a":1}"#, &[r#""a":1"#]), "{}");
    }
}
