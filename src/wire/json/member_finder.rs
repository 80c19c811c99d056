//! Searches text that arrives in chunks for a member's name.

use memchr::memmem::Finder;

/// Finds a member's name, also where a chunk boundary splits it.
///
/// In JSON a quote inside a string is written `\"`, so a name with both its quotes, such as `"usage"`, never
/// occurs inside a longer string, and is a key if a colon follows. The search costs a tenth of scanning the
/// structure.
#[derive(Debug)]
pub(crate) struct MemberFinder {
    finder: &'static Finder<'static>,
    /// The end of the chunks so far, in which the name may begin: shorter than the name.
    tail: Vec<u8>,
}

impl MemberFinder {
    /// Searches for the text of `finder`.
    pub(crate) fn new(finder: &'static Finder<'static>) -> Self {
        Self { finder, tail: Vec::new() }
    }

    /// Returns the length of the name.
    pub(crate) fn name_len(&self) -> usize {
        self.finder.needle().len()
    }

    /// Returns the offset in `bytes` after the first name that ends there. The next call must continue at
    /// that offset, or later. `None`: the next call continues with the next chunk.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let end = self.split_name_end(bytes).or_else(|| {
            let start = self.finder.find(bytes)?;
            Some(start + self.name_len())
        });
        if end.is_some() {
            self.tail.clear();
        } else {
            self.keep_tail(bytes);
        }
        end
    }

    /// Returns the offset after a name that begins in an earlier chunk and ends in `bytes`.
    fn split_name_end(&self, bytes: &[u8]) -> Option<usize> {
        let name = self.finder.needle();
        let most = bytes.len().min(name.len() - 1);
        // A longer rest begins earlier, so it comes first.
        (1..=most).rev().find(|length| {
            let (before, rest) = name.split_at(name.len() - length);
            bytes.starts_with(rest) && self.tail.ends_with(before)
        })
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        let most = self.name_len() - 1;
        let kept = &bytes[bytes.len().saturating_sub(most)..];
        let excess = (self.tail.len() + kept.len()).saturating_sub(most);
        self.tail.drain(..excess);
        self.tail.extend_from_slice(kept);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("content\""));
    const TEXT: &[u8] = br#"{"content":1,"contentcontent" :"conten\"","content"content""#;

    /// Returns the offset after each name.
    fn ends<'c>(chunks: impl IntoIterator<Item = &'c [u8]>) -> Vec<usize> {
        let (mut finder, mut found, mut start) = (MemberFinder::new(&NAME), Vec::new(), 0);
        for chunk in chunks {
            let mut rest = chunk;
            while let Some(end) = finder.find(rest) {
                rest = &rest[end..];
                found.push(start + chunk.len() - rest.len());
            }
            start += chunk.len();
        }
        found
    }

    #[test]
    fn any_split_into_chunks_finds_the_same_names() {
        let whole = ends([TEXT]);
        assert_eq!(whole.len(), 4);
        for first in 0..=TEXT.len() {
            for second in first..=TEXT.len() {
                let chunks = [&TEXT[..first], &TEXT[first..second], &TEXT[second..]];
                assert_eq!(ends(chunks), whole, "split at {first} and {second}");
            }
        }
        assert_eq!(ends(TEXT.chunks(1)), whole);
    }

    #[test]
    fn the_tail_is_shorter_than_the_name() {
        let mut finder = MemberFinder::new(&NAME);
        for length in [0, 1, 3, 100, 2, 1000] {
            assert_eq!(finder.find(&vec![b'c'; length]), None);
            assert!(finder.tail.len() < finder.name_len());
        }
    }
}
