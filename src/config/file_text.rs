//! The text of one file: positions in it, and its lines with hidden values.

use std::ops::Range;
use std::path::PathBuf;

use super::schema;

/// The text of one file.
pub(super) struct FileText {
    /// The path for display.
    pub(super) path: PathBuf,
    text: String,
    /// Offset of each line.
    lines: Vec<usize>,
    /// Spans of the values, sorted. Complete only if the file has no syntax error.
    scalars: Vec<Range<usize>>,
    /// Indices of the lines with a syntax error, from 0.
    broken_lines: Vec<usize>,
}

/// A line of a file that is safe to print, and the part of it that a problem is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snippet {
    /// The line with `…` instead of values, and without comments.
    pub(super) line: String,
    /// Byte range in `line`.
    pub(super) marked: Range<usize>,
}

impl FileText {
    /// Takes a text without a byte order mark.
    pub(super) fn new(path: PathBuf, text: String) -> Self {
        let breaks = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        Self { path, text, lines, scalars: Vec::new(), broken_lines: Vec::new() }
    }

    /// Returns the whole text.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Sets the spans of the values, so that they are hidden.
    pub(super) fn hide_values(&mut self, mut scalars: Vec<Range<usize>>) {
        scalars.sort_by_key(|span| span.start);
        self.scalars = scalars;
    }

    /// Adds one span to be hidden.
    pub(super) fn hide(&mut self, span: Range<usize>) {
        let place = self.scalars.partition_point(|other| other.start < span.start);
        self.scalars.insert(place, span);
    }

    /// Records a syntax error. Returns true if it is the first one on its line.
    pub(super) fn add_broken_line(&mut self, offset: usize) -> bool {
        let line = self.line_of(offset);
        let first = !self.broken_lines.contains(&line);
        if first {
            self.broken_lines.push(line);
        }
        first
    }

    /// True if one of the lines of this span has a syntax error.
    pub(super) fn is_broken(&self, span: &Range<usize>) -> bool {
        let lines = self.line_of(span.start)..=self.line_of(span.end);
        self.broken_lines.iter().any(|line| lines.contains(line))
    }

    /// Returns line and column of a byte, from 1. Columns count characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.line_of(offset);
        let start = self.lines[line];
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        (line + 1, column + 1)
    }

    /// Returns the first line of the span, with its values hidden.
    pub(super) fn snippet(&self, span: &Range<usize>) -> Snippet {
        let number = self.line_of(span.start);
        let start = self.lines[number];
        let end = self.lines.get(number + 1).map_or(self.text.len(), |next| next - 1);
        let line = self.text.get(start..end).unwrap_or_default();
        let mut mask = LineMask::new(line.strip_suffix('\r').unwrap_or(line), start);
        if self.broken_lines.is_empty() {
            mask.hide_values(&self.scalars);
        } else {
            mask.hide_all_but_names();
        }
        mask.finish(span)
    }

    fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).saturating_sub(1)
    }
}

const HIDDEN: char = '…';

/// Builds the masked line from left to right and records the new position of each byte.
struct LineMask<'t> {
    line: &'t str,
    start: usize,
    out: String,
    /// For each byte of the line that was consumed: its position in `out`.
    positions: Vec<usize>,
}

impl<'t> LineMask<'t> {
    fn new(line: &'t str, start: usize) -> Self {
        Self { line, start, out: String::new(), positions: Vec::with_capacity(line.len()) }
    }

    /// Copies the line up to this position.
    fn copy(&mut self, until: usize) {
        let from = self.positions.len();
        for (at, char) in self.line[from..until].char_indices() {
            debug_assert_eq!(self.positions.len(), from + at);
            self.positions.extend(std::iter::repeat_n(self.out.len(), char.len_utf8()));
            self.out.push(char);
        }
    }

    /// Writes one `…` for the line up to this position.
    fn mask(&mut self, until: usize) {
        let consumed = self.positions.len();
        if until > consumed {
            self.positions.extend(std::iter::repeat_n(self.out.len(), until - consumed));
            self.out.push(HIDDEN);
        }
    }

    /// For a file without syntax errors: hides values and comments.
    fn hide_values(&mut self, scalars: &[Range<usize>]) {
        let first = scalars.partition_point(|span| span.end <= self.start);
        for span in &scalars[first..] {
            let (from, to) =
                (span.start.max(self.start), span.end.min(self.start + self.line.len()));
            if from >= to || self.copy_names(from - self.start) {
                break;
            }
            self.mask(to - self.start);
        }
        self.copy_names(self.line.len());
    }

    /// Copies names and punctuation up to this position. Returns true if a comment ends the line before it.
    fn copy_names(&mut self, until: usize) -> bool {
        let from = self.positions.len().min(until);
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

    /// For a file with syntax errors, whose spans are not reliable: keeps the names of known settings in
    /// `name = value` and in a `[header]`, and hides everything else.
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
            self.mask(line.len());
            return;
        }
        self.copy(names);
        for segment in rest[..length].split_inclusive('.') {
            let next = self.positions.len() + segment.len();
            let name = segment.trim_end_matches('.');
            if schema::printable_names().contains(name) {
                self.copy(next);
            } else {
                self.mask(next - (segment.len() - name.len()));
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
            self.mask(line.len());
        }
    }

    fn finish(self, span: &Range<usize>) -> Snippet {
        let place = |offset: usize| {
            let at = offset.saturating_sub(self.start);
            self.positions.get(at).map_or(self.out.len(), |place| self.out.len().min(*place))
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
        let mut file = FileText::new("a.toml".into(), text.to_owned());
        let span = |part: &str| {
            let at = text.find(part).expect("part of the text");
            at..at + part.len()
        };
        file.hide_values(values.iter().map(|value| span(value)).collect());
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
    fn a_value_over_several_lines_is_hidden_on_each_line() {
        let text = "a = \"\"\"one\ntwo\nthree\"\"\"\n";
        let mut file = FileText::new("a.toml".into(), text.to_owned());
        file.hide(4..text.len() - 1);
        for part in ["one", "two", "three"] {
            let at = text.find(part).expect("part of the text");
            assert!(!file.snippet(&(at..at + 1)).line.contains(part));
        }
    }

    #[test]
    fn a_broken_file_shows_only_names_of_settings() {
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
            let mut file = FileText::new("a.toml".into(), text.to_owned());
            file.add_broken_line(0);
            assert_eq!(file.snippet(&(0..1)).line, shown, "{text}");
        }
    }

    #[test]
    fn columns_count_characters() {
        let file = FileText::new("a.toml".into(), "x\n\té = 1".to_owned());
        assert_eq!(file.position(file.as_str().find('=').expect("a sign")), (2, 4));
        assert_eq!(file.position(file.as_str().len()), (2, 7));
    }
}
