//! A mistake in the configuration: where it stands, what it is, and what would be right.

use std::path::PathBuf;

use serde::Serialize;

/// One mistake, as `check` reports it. It never holds a value from the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file it stands in; empty for the environment and flags.
    pub file: PathBuf,
    /// Line, from 1; 0 where there is none.
    pub line: usize,
    /// Column in characters, from 1; 0 where there is none.
    pub column: usize,
    /// Dotted path of the setting, such as `providers.openai.keys[0].weight`.
    pub path: String,
    /// Whether it stops the configuration from being used.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What would be right, where that can be said.
    pub help: Option<String>,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but something in it is probably not meant.
    Warning,
}
