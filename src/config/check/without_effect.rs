//! Settings that this version reads and checks, and does not act on yet. A file that sets one is told
//! so, because whoever wrote it counts on it. A row goes when what it names comes.

use figment::value::Value;

use super::Check;
use crate::config::path::{child, item};
use crate::config::problem::Severity;
use crate::config::tree::Mark;

/// Path, with `*` for names and places that are the user's; what happens in spite of the setting; and
/// the one value that asks for just that, if there is one.
const ROWS: [(&str, &str, &str); 6] = [
    ("clients.*.max_concurrent", "the requests of this client are not limited", ""),
    ("providers.*.max_concurrent", "the requests to this provider are not limited", ""),
    ("providers.*.keys.*.max_concurrent", NO_LIMIT, ""),
    ("providers.*.keys.*.rpm", NO_LIMIT, ""),
    ("providers.*.keys.*.tpm", "the tokens of this key are not limited", ""),
    ("providers.*.keys.*.quota_group", "each key counts as an account of its own", ""),
];

const NO_LIMIT: &str = "the requests of this key are not limited";

/// The paths of all settings that have no effect in this version, with `*` for names and places that
/// are the user's.
pub fn without_effect() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.0)
}

impl Check<'_, '_> {
    /// Warns of what is set to no effect. Of a default nothing is said.
    pub(super) fn without_effect(&mut self) {
        let root = Value::from(self.tree.root.clone());
        for (pattern, instead, asks_for_it) in ROWS {
            let names: Vec<&str> = pattern.split('.').collect();
            let mut found = Vec::new();
            find(&root, String::new(), &names, &mut found);
            for (path, value) in found {
                let set = self.tree.origin(&path).is_some();
                let wrong = self.tree.problems.iter().any(|problem| problem.path == path);
                if !set || wrong || word(value) == asks_for_it {
                    continue;
                }
                let name = names.last().copied().unwrap_or_default();
                let message = format!("`{name}` has no effect in this version");
                self.report(&path, Mark::Name, Severity::Warning, message, Some(instead));
            }
        }
    }
}

/// What stands at a pattern, with its paths.
fn find<'v>(value: &'v Value, at: String, names: &[&str], found: &mut Vec<(String, &'v Value)>) {
    match (names, value) {
        ([], value) => found.push((at, value)),
        (["*", rest @ ..], Value::Dict(_, dict)) => {
            for (name, value) in dict {
                find(value, child(&at, name), rest, found);
            }
        }
        (["*", rest @ ..], Value::Array(_, items)) => {
            for (place, value) in items.iter().enumerate() {
                find(value, item(&at, place), rest, found);
            }
        }
        ([name, rest @ ..], Value::Dict(_, dict)) => {
            if let Some(value) = dict.get(*name) {
                find(value, child(&at, name), rest, found);
            }
        }
        _ => {}
    }
}

/// A value as [`ROWS`] writes it.
fn word(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => serde_json::to_string(value).unwrap_or_default(),
    }
}
