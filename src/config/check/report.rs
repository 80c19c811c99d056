//! The state of a check, and how it reports problems.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::config::input_files::Reader;
use crate::config::path::leaf;
use crate::config::problem::Severity;
use crate::config::tree::{Mark, Tree, UnlocatedProblem};

/// The inputs and the results of a check.
pub(super) struct Check<'c, 'a> {
    pub(super) tree: &'c mut Tree,
    pub(super) reader: &'c mut Reader<'a>,
    /// By path: the values of sources as they may be displayed, secrets as fingerprints.
    pub(super) displayed: BTreeMap<String, Json>,
}

impl<'c, 'a> Check<'c, 'a> {
    pub(super) fn new(tree: &'c mut Tree, reader: &'c mut Reader<'a>) -> Self {
        Self { tree, reader, displayed: BTreeMap::new() }
    }
}

impl Check<'_, '_> {
    /// Reports an error about the value of a setting.
    pub(super) fn error<'h>(
        &mut self,
        path: &str,
        message: impl Into<String>,
        help: impl Into<Option<&'h str>>,
    ) {
        self.report(path, Mark::Value, Severity::Error, message.into(), help.into());
    }

    /// Reports an error about the name of a setting.
    pub(super) fn name_error<'h>(
        &mut self,
        path: &str,
        message: impl Into<String>,
        help: impl Into<Option<&'h str>>,
    ) {
        self.report(path, Mark::Name, Severity::Error, message.into(), help.into());
    }

    pub(super) fn warning<'h>(
        &mut self,
        path: &str,
        message: impl Into<String>,
        help: impl Into<Option<&'h str>>,
    ) {
        self.report(path, Mark::Value, Severity::Warning, message.into(), help.into());
    }

    fn report(
        &mut self,
        path: &str,
        mark: Mark,
        severity: Severity,
        message: String,
        help: Option<&str>,
    ) {
        let help = help.map(str::to_owned);
        self.tree.report(UnlocatedProblem { path: path.to_owned(), mark, severity, message, help });
    }

    /// True if a problem was reported at or under this path. The setting may then be missing from the tree,
    /// so its absence must not be reported.
    pub(super) fn is_reported(&self, path: &str) -> bool {
        self.any_reported(path, |_| true)
    }

    /// True if a problem was reported at the path, or under it for one of these settings. Their values are
    /// then unknown, and so is everything that depends on them.
    pub(super) fn is_reported_for(&self, path: &str, settings: &[&str]) -> bool {
        self.any_reported(path, |rest| {
            settings.contains(&leaf(rest).split('[').next().unwrap_or_default())
        })
    }

    /// True if a problem was reported at the path, or at a path under it that matches.
    fn any_reported(&self, path: &str, matches: impl Fn(&str) -> bool) -> bool {
        let from_path = self.tree.reported.range(path.to_owned()..);
        from_path.take_while(|reported| reported.starts_with(path)).any(|reported| {
            let rest = &reported[path.len()..];
            rest.is_empty() || (rest.starts_with(['.', '[']) && matches(rest))
        })
    }

    /// Returns ` (FILE:LINE)` of another setting that a message refers to.
    pub(super) fn location(&self, path: &str) -> String {
        self.tree.origin(path).map_or(String::new(), |origin| format!(" ({origin})"))
    }
}
