//! The text of one file: positions in it, and its lines with the values hidden.

use std::ops::Range;
use std::path::PathBuf;

use super::schema;

/// One file as it was read.
pub(super) struct Text {
    /// The path it is shown under.
    pub(super) path: PathBuf,
    whole: String,
    /// Where each line begins.
    lines: Vec<usize>,
    /// Where the values stand, in order. Complete only when the file has no syntax error.
    scalars: Vec<Range<usize>>,
    /// Lines with a syntax error, from 0.
    broken: Vec<usize>,
}

/// A line of a file that is safe to show, and the part of it that a problem is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snippet {
    /// The line with `…` in place of values and comments.
    pub(super) line: String,
    /// Bytes of `line`.
    pub(super) marked: Range<usize>,
}

impl Text {
    /// Takes the text over. A byte order mark must be gone already.
    pub(super) fn new(path: PathBuf, text: String) -> Self {
        let breaks = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        Self { path, whole: text, lines, scalars: Vec::new(), broken: Vec::new() }
    }

    /// The whole text.
    pub(super) fn as_str(&self) -> &str {
        &self.whole
    }

    /// Remembers where values stand, so that they can be hidden.
    pub(super) fn hide(&mut self, mut scalars: Vec<Range<usize>>) {
        scalars.sort_by_key(|span| span.start);
        self.scalars = scalars;
    }

    /// Remembers one more part to be hidden.
    pub(super) fn hide_too(&mut self, span: Range<usize>) {
        let place = self.scalars.partition_point(|other| other.start < span.start);
        self.scalars.insert(place, span);
    }

    /// Remembers a syntax error; says whether it is the first on its line.
    pub(super) fn breaks_at(&mut self, offset: usize) -> bool {
        let line = self.line_of(offset);
        let first = !self.broken.contains(&line);
        if first {
            self.broken.push(line);
        }
        first
    }

    /// Whether a syntax error stands on one of the lines of this part.
    pub(super) fn is_broken(&self, span: &Range<usize>) -> bool {
        let lines = self.line_of(span.start)..=self.line_of(span.end);
        self.broken.iter().any(|line| lines.contains(line))
    }

    /// Line and column of a byte, from 1. Columns count characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.line_of(offset);
        let start = self.lines[line];
        let column = self.whole.get(start..offset).map_or(0, |before| before.chars().count());
        (line + 1, column + 1)
    }

    /// The line where the part begins, with its values hidden.
    pub(super) fn snippet(&self, span: &Range<usize>) -> Snippet {
        let number = self.line_of(span.start);
        let start = self.lines[number];
        let end = self.lines.get(number + 1).map_or(self.whole.len(), |next| next - 1);
        let line = self.whole.get(start..end).unwrap_or_default();
        let mut shown = Shown::new(line.strip_suffix('\r').unwrap_or(line), start);
        if self.broken.is_empty() {
            shown.hide_values(&self.scalars);
        } else {
            shown.hide_all_but_names();
        }
        shown.finish(span)
    }

    fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).saturating_sub(1)
    }
}

const HIDDEN: char = '…';

/// Builds the shown line from left to right, remembering where each byte of the real one went.
struct Shown<'t> {
    line: &'t str,
    start: usize,
    out: String,
    /// For each byte of the line that was taken: its place in `out`.
    places: Vec<usize>,
}

impl<'t> Shown<'t> {
    fn new(line: &'t str, start: usize) -> Self {
        Self { line, start, out: String::new(), places: Vec::with_capacity(line.len()) }
    }

    /// Shows the line up to there.
    fn copy(&mut self, until: usize) {
        let from = self.places.len();
        for (at, char) in self.line[from..until].char_indices() {
            debug_assert_eq!(self.places.len(), from + at);
            self.places.extend(std::iter::repeat_n(self.out.len(), char.len_utf8()));
            self.out.push(char);
        }
    }

    /// Shows one `…` for the line up to there.
    fn cover(&mut self, until: usize) {
        let taken = self.places.len();
        if until > taken {
            self.places.extend(std::iter::repeat_n(self.out.len(), until - taken));
            self.out.push(HIDDEN);
        }
    }

    /// For a file that was parsed: everything but values and comments is shown.
    fn hide_values(&mut self, scalars: &[Range<usize>]) {
        let first = scalars.partition_point(|span| span.end <= self.start);
        for span in &scalars[first..] {
            let (from, to) =
                (span.start.max(self.start), span.end.min(self.start + self.line.len()));
            if from >= to || self.names_until(from - self.start) {
                break;
            }
            self.cover(to - self.start);
        }
        self.names_until(self.line.len());
    }

    /// Shows names and punctuation up to there; `true` when a comment ended the line before.
    fn names_until(&mut self, until: usize) -> bool {
        let from = self.places.len().min(until);
        let mut quote = None;
        let mut escaped = false;
        for (at, byte) in self.line.as_bytes()[from..until].iter().enumerate() {
            match (quote, byte) {
                _ if escaped => escaped = false,
                (None, b'#') => {
                    self.copy(from + at);
                    self.out.truncate(self.out.trim_end().len());
                    return true;
                }
                (None, b'"' | b'\'') => quote = Some(*byte),
                (Some(b'"'), b'\\') => escaped = true,
                (Some(open), close) if open == *close => quote = None,
                _ => {}
            }
        }
        self.copy(until);
        false
    }

    /// For a file with syntax errors, where no span can be trusted: of `name = value` and of a
    /// `[header]` the names of settings are shown, of anything else nothing.
    fn hide_all_but_names(&mut self) {
        let line = self.line;
        let begin = line.len() - line.trim_start().len();
        self.copy(begin);
        let brackets = line[begin..].bytes().take(2).take_while(|byte| *byte == b'[').count();
        let names = begin + brackets;
        let rest = &line[names..];
        let length = rest
            .find(|char: char| !(char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.')))
            .unwrap_or(rest.len());
        let after = rest[length..].trim_start();
        if length == 0 || (brackets == 0 && !after.starts_with('=')) {
            self.cover(line.len());
            return;
        }
        self.copy(names);
        for segment in rest[..length].split_inclusive('.') {
            let next = self.places.len() + segment.len();
            let name = segment.trim_end_matches('.');
            if schema::words().contains(name) {
                self.copy(next);
            } else {
                self.cover(next - (segment.len() - name.len()));
                self.copy(next);
            }
        }
        if brackets > 0 {
            let close =
                rest[length..].bytes().take(brackets).take_while(|byte| *byte == b']').count();
            self.copy(names + length + close);
        } else {
            let equals = line.len() - after.len() + 1;
            let value = line[equals..].trim_start();
            self.copy(line.len() - value.len());
            self.cover(line.len());
        }
    }

    fn finish(self, span: &Range<usize>) -> Snippet {
        let place = |offset: usize| {
            let at = offset.saturating_sub(self.start);
            self.places.get(at).map_or(self.out.len(), |place| self.out.len().min(*place))
        };
        let begin = place(span.start);
        let mut end = place(span.end).max(begin);
        if end == begin && span.end > span.start {
            end += self.out[begin..].chars().next().map_or(0, char::len_utf8);
        }
        Snippet { line: self.out, marked: begin..end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, values: &[&str], about: &str) -> (String, String) {
        let mut file = Text::new("a.toml".into(), text.to_owned());
        let span = |part: &str| {
            let at = text.find(part).expect("part of the text");
            at..at + part.len()
        };
        file.hide(values.iter().map(|value| span(value)).collect());
        let snippet = file.snippet(&span(about));
        let marked = snippet.line[snippet.marked.clone()].to_owned();
        (snippet.line, marked)
    }

    #[test]
    fn values_and_comments_are_hidden_and_names_stay() {
        let shown = line("a = 1\r\n\"k#\" = [\"v\", 'w'] # c\r\n", &["1", "\"v\"", "'w'"], "'w'");
        assert_eq!(shown, ("\"k#\" = […, …]".to_owned(), "…".to_owned()));
    }

    #[test]
    fn a_value_over_several_lines_is_hidden_on_each() {
        let text = "a = \"\"\"one\ntwo\nthree\"\"\"\n";
        let mut file = Text::new("a.toml".into(), text.to_owned());
        file.hide_too(4..text.len() - 1);
        for part in ["one", "two", "three"] {
            let at = text.find(part).expect("part of the text");
            assert!(!file.snippet(&(at..at + 1)).line.contains(part));
        }
    }

    #[test]
    fn of_a_broken_file_only_names_of_settings_are_shown() {
        for (text, shown) in [
            ("value = \"sk-secret", "value = …"),
            ("  sk-secret", "  …"),
            ("sk-secret= 1", "…= …"),
            ("[providers.sk-secret", "[providers.…"),
            ("[[providers.openai.keys]] # sk-secret", "[[providers.openai.keys]]"),
            ("c2stc2VjcmV0==", "…=…"),
            ("\"value\" = 1", "…"),
            ("é = 1", "…"),
        ] {
            let mut file = Text::new("a.toml".into(), text.to_owned());
            file.breaks_at(0);
            assert_eq!(file.snippet(&(0..1)).line, shown, "{text}");
        }
    }

    #[test]
    fn columns_count_characters() {
        let file = Text::new("a.toml".into(), "x\n\té = 1".to_owned());
        assert_eq!(file.position(file.as_str().find('=').expect("a sign")), (2, 4));
        assert_eq!(file.position(file.as_str().len()), (2, 7));
    }
}
