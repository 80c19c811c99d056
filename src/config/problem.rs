//! A problem of the configuration: its location, what was found, and what would be right.

use std::fmt;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet as ResponseContext};
use serde::Serialize;

use super::file_text::Snippet;

/// One problem, as `check` reports it. It never contains a value from the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file; empty for environment variables and flags.
    pub file: PathBuf,
    /// Line, from 1; 0 if there is none.
    pub line: usize,
    /// Column in characters, from 1; 0 if there is none.
    pub column: usize,
    /// Dotted path of the setting, such as `providers.openai.keys[0].weight`.
    pub path: String,
    /// An error prevents the use of the configuration, a warning does not.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What would be right, if that is known.
    pub help: Option<String>,
    /// The line, with its values hidden.
    #[serde(skip)]
    pub(super) snippet: Option<Snippet>,
}

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, but probably does not do what was intended.
    Warning,
}

/// Formats all problems as readable text, each with its line. Empty if there are none.
pub fn render(problems: &[Problem], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for problem in problems {
        let shown = renderer.render(&[problem.group()]);
        // The renderer would print the column in the line with hidden values; this is the column in the file.
        let (title, rest) = shown.split_once('\n').unwrap_or((&shown, ""));
        text.push_str(title);
        if let Some(location) = problem.location() {
            let margin = if problem.snippet.is_some() { problem.line.to_string().len() } else { 0 };
            let arrow = if colour { "\u{1b}[1m\u{1b}[94m-->\u{1b}[0m" } else { "-->" };
            text.push_str(&["\n", &" ".repeat(margin), arrow, " ", &location].concat());
        }
        for part in ["\n", rest, if rest.is_empty() { "" } else { "\n" }, "\n"] {
            text.push_str(part);
        }
    }
    text
}

/// Returns the counts, such as `2 errors, 1 warning`; `None` if there are no problems.
pub fn summary(problems: &[Problem]) -> Option<String> {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let counted = |number: usize, name: &str| {
        (number > 0).then(|| format!("{number} {name}{}", if number == 1 { "" } else { "s" }))
    };
    let parts = [counted(errors, "error"), counted(problems.len() - errors, "warning")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Formats all problems and their counts as readable text.
pub fn report(problems: &[Problem], colour: bool) -> String {
    let summary = summary(problems).map(|summary| summary + "\n").unwrap_or_default();
    render(problems, colour) + &summary
}

/// Writes one line for a log: `keymux.toml:3:1: server.listen: message; help`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = self.location() {
            write!(f, "{location}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl Problem {
    /// Returns an error that has no location in a file.
    pub fn without_location(message: String) -> Self {
        Self { message, ..Self::empty() }
    }

    /// Returns an error without location and message.
    pub(super) fn empty() -> Self {
        Self {
            file: PathBuf::new(),
            line: 0,
            column: 0,
            path: String::new(),
            severity: Severity::Error,
            message: String::new(),
            help: None,
            snippet: None,
        }
    }

    /// Returns the sort key: by file, line and column, errors before warnings.
    pub(super) fn sort_key(&self) -> impl Ord + '_ {
        (&self.file, self.line, self.column, self.severity, &self.path, &self.message)
    }

    /// `keymux.toml:3:1`
    fn location(&self) -> Option<String> {
        let file = self.file.display();
        match self.line {
            _ if self.file.as_os_str().is_empty() => None,
            0 => Some(file.to_string()),
            line => Some(format!("{file}:{line}:{}", self.column)),
        }
    }

    fn group(&self) -> Group<'_> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()));
        if let Some(snippet) = &self.snippet {
            let mark = AnnotationKind::Primary.span(snippet.marked.clone()).label(&self.path);
            let line =
                ResponseContext::source(&snippet.line).line_start(self.line).annotation(mark);
            group = group.element(line);
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        group
    }
}
