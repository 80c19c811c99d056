//! Rust text as far as the rules need it: words and signs, without comments, strings and documentation.

use std::fs;
use std::path::Path;

/// A word or a sign of the program, and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

/// One file of `src`.
#[derive(Debug)]
pub(super) struct Source {
    /// `src/keys/select.rs`
    pub(super) path: String,
    pub(super) lines: usize,
    pub(super) tokens: Vec<Token>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), lines: text.lines().count(), tokens: tokens(text) }
    }

    /// All files below `src`, in order of their paths.
    pub(super) fn all(root: &Path) -> Vec<Self> {
        let mut folders = vec![root.join("src")];
        let mut sources = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let name = path.strip_prefix(root).unwrap().display().to_string();
                    sources.push(Self::new(&name, &fs::read_to_string(&path).unwrap()));
                }
            }
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        sources
    }

    /// The module's path: `["keys", "select"]`; empty for `lib.rs`.
    pub(super) fn module(&self) -> Vec<&str> {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        let mut names: Vec<&str> = path.split('/').collect();
        if matches!(names.last(), Some(&("mod" | "lib"))) {
            names.pop();
        }
        names
    }

    /// The room that the file belongs to; none for `lib.rs`, which is the house.
    pub(super) fn room(&self) -> Option<String> {
        self.module().first().map(|&name| name.to_owned())
    }

    /// Names of the file's module, its parents and the modules inside the file.
    pub(super) fn module_names(&self) -> impl Iterator<Item = String> + '_ {
        let inside = self.tokens.windows(2).filter(|pair| pair[0].text == "mod");
        let inside = inside.map(|pair| pair[1].text.clone());
        self.module().into_iter().map(str::to_owned).chain(inside)
    }

    /// First names behind `crate::`, behind the crate's own name, and behind as many `super::` as
    /// lead out of the file's room, with their lines. `*` stands for everything.
    pub(super) fn uses(&self) -> Vec<(String, usize)> {
        let depth = self.module().len();
        let mut uses = Vec::new();
        for start in 0..self.tokens.len() {
            let behind = match self.text(start) {
                "crate" | "keymux" => self.behind_colons(start + 1),
                "super" if !self.is_behind_colons(start) => self.behind_supers(start, depth),
                _ => None,
            };
            let Some(behind) = behind else { continue };
            // `super::*` in the tests of a file is the file itself.
            if self.text(start) != "super" || self.text(behind) != "*" {
                self.first_names(behind, &mut uses);
            }
        }
        uses
    }

    /// Which of these crates are named at the start of a path.
    pub(super) fn crates_named(&self, crates: &[&str]) -> Vec<(String, usize)> {
        let named = |&at: &usize| {
            crates.contains(&self.text(at))
                && !self.is_behind_colons(at)
                && (self.behind_colons(at + 1).is_some() || self.text(at.wrapping_sub(1)) == "use")
        };
        let found = (0..self.tokens.len()).filter(named);
        found.map(|at| (self.tokens[at].text.clone(), self.tokens[at].line)).collect()
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text.as_str())
    }

    fn behind_colons(&self, at: usize) -> Option<usize> {
        (self.text(at) == ":" && self.text(at + 1) == ":").then_some(at + 2)
    }

    fn is_behind_colons(&self, at: usize) -> bool {
        at >= 2 && self.behind_colons(at - 2).is_some()
    }

    /// The root is `depth` steps up, and one more from a module inside the file.
    fn behind_supers(&self, start: usize, depth: usize) -> Option<usize> {
        let mut at = start;
        let mut steps = 0;
        while self.text(at) == "super" {
            at = self.behind_colons(at + 1)?;
            steps += 1;
        }
        (steps >= depth).then_some(at)
    }

    /// `a::b` gives a; `{a::b, c::{d, e}}` gives a and c.
    fn first_names(&self, start: usize, uses: &mut Vec<(String, usize)>) {
        let mut nesting = 0;
        let mut expected = true;
        for Token { text, line } in &self.tokens[start..] {
            match text.as_str() {
                "{" => nesting += 1,
                "}" => nesting -= 1,
                "," if nesting == 1 => expected = true,
                name if expected => {
                    uses.push((name.to_owned(), *line));
                    expected = false;
                }
                _ => {}
            }
            if nesting == 0 {
                return;
            }
        }
    }
}

/// Splits a program; comments and literals give nothing.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match skipped(rest) {
            0 => {
                let word = word(rest);
                let length = if word == 0 { first.len_utf8() } else { word };
                if !first.is_whitespace() {
                    let line = 1 + text[..text.len() - rest.len()].matches('\n').count();
                    tokens.push(Token { text: rest[..length].to_owned(), line });
                }
                length
            }
            length => length,
        };
        rest = &rest[length..];
    }
    tokens
}

fn word(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// The length of the comment or literal that the text begins with, or 0.
fn skipped(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    let prefix = ["", "b", "c", "r", "br", "cr"].into_iter().rev().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            rest.starts_with('"') || (prefix.ends_with('r') && is_raw_start(rest))
        })
    });
    match prefix {
        Some(prefix) if prefix.ends_with('r') => raw_string(text, prefix.len()),
        Some(prefix) => quoted(text, prefix.len(), '"'),
        None => character(text),
    }
}

fn is_raw_start(text: &str) -> bool {
    text.trim_start_matches('#').starts_with('"')
}

/// Comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let bytes = &text.as_bytes()[at..];
        if bytes.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

fn raw_string(text: &str, prefix: usize) -> usize {
    let hashes = text[prefix..].bytes().take_while(|byte| *byte == b'#').count();
    let end = format!("\"{}", "#".repeat(hashes));
    let start = prefix + hashes + 1;
    text[start..].find(&end).map_or(text.len(), |found| start + found + end.len())
}

fn quoted(text: &str, prefix: usize, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(prefix + 1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            found if found == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `'a'`, `'\n'` and `b'a'`; a lifetime is no literal.
fn character(text: &str) -> usize {
    let prefix = usize::from(text.starts_with("b'"));
    let mut characters = text[prefix..].chars();
    if characters.next() != Some('\'') {
        return 0;
    }
    match (characters.next(), characters.next()) {
        (Some('\\'), _) | (_, Some('\'')) => quoted(text, prefix, '\''),
        _ => 0,
    }
}

mod reading {
    use super::*;

    fn used(path: &str, text: &str) -> Vec<String> {
        Source::new(path, text).uses().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn paths_and_groups_give_their_first_names() {
        let text = "use crate::{a::b, c::{d, e}, f};\nfn x() -> crate::g::H { crate::i::j() }";
        assert_eq!(used("src/keys/mod.rs", text), ["a", "c", "f", "g", "i"]);
        assert_eq!(used("src/keys/mod.rs", "use crate::*;"), ["*"]);
        assert_eq!(used("src/keys/mod.rs", "use keymux::a; macro!($crate::b);"), ["a", "b"]);
    }

    #[test]
    fn enough_supers_lead_to_the_root() {
        assert_eq!(used("src/keys/select.rs", "use super::super::route::X;"), ["route"]);
        assert_eq!(used("src/keys/mod.rs", "use super::route;"), ["route"]);
        assert!(used("src/keys/select.rs", "use super::health::X;").is_empty());
        assert!(used("src/keys/a/b.rs", "use super::super::health::X;").is_empty());
        assert!(used("src/secret.rs", "mod tests { use super::*; }").is_empty());
    }

    #[test]
    fn comments_strings_and_characters_give_nothing() {
        let text = r##"
            //! crate::a
            /// [`crate::b`]
            /* crate::c /* crate::d */ crate::e */
            const S: &str = "crate::f \" crate::g";
            const R: &str = r#"crate::h " crate::i"#;
            const B: (&[u8], char, u8) = (b"crate::j", '"', b'\'');
            fn lifetimes<'a>(x: &'a str) -> &'a str { crate::seen::f(x) }
            const LAST: char = 'x'; type T = crate::last::T;
        "##;
        assert_eq!(used("src/keys/mod.rs", text), ["seen", "last"]);
    }

    #[test]
    fn lines_are_counted_across_strings() {
        let source = Source::new("src/keys/mod.rs", "const A: &str = \"\n\n\";\nuse crate::a;");
        assert_eq!(source.uses(), [("a".to_owned(), 4)]);
    }
}
