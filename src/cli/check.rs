//! `keymux check`: every problem of the configuration in one run.

use crate::config::{Host, Options, load, problem};

/// What to print, and whether the configuration can be used. With `json`, the list of problems;
/// otherwise text, in colour when asked for.
pub fn check(options: &Options, json: bool, colour: bool) -> (String, bool) {
    let loaded = load(options, &Host);
    let good = loaded.config.is_some();
    if json {
        let mut text = serde_json::to_string_pretty(&loaded.problems).unwrap_or_default();
        text.push('\n');
        return (text, good);
    }
    let mut text = problem::render(&loaded.problems, colour);
    let end = problem::summary(&loaded.problems);
    text.push_str(&end.unwrap_or_else(|| format!("{}: ok", options.file.display())));
    text.push('\n');
    (text, good)
}
