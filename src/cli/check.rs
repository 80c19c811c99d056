//! `keymux check`: reports all problems of the configuration in one run.

use super::load;
use crate::config::{LoadOptions, Loaded, problem};

/// Returns the output, and true if the configuration can be used. With `json` the output is a list of
/// problems, otherwise text.
pub(super) fn check(options: &LoadOptions, json: bool, colour: bool) -> (String, bool) {
    let loaded = load(options);
    (format_problems(&loaded, options, json, colour), loaded.config.is_some())
}

/// Formats the problems of a loaded file.
pub(super) fn format_problems(
    loaded: &Loaded,
    options: &LoadOptions,
    json: bool,
    colour: bool,
) -> String {
    if json {
        let mut text = serde_json::to_string_pretty(&loaded.problems).unwrap_or_default();
        text.push('\n');
        return text;
    }
    let mut text = problem::render(&loaded.problems, colour);
    let end = problem::summary(&loaded.problems);
    text.push_str(&end.unwrap_or_else(|| format!("{}: ok", options.file.display())));
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn options(file: &str) -> LoadOptions {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
        LoadOptions { file: fixtures.join(file), overrides: Vec::new() }
    }

    #[test]
    fn a_valid_file_is_ok() {
        let (text, ok) = check(&options("good/lookup.toml"), false, false);
        assert!(ok && text.ends_with("good/lookup.toml: ok\n"), "{text}");
        assert_eq!(check(&options("good/lookup.toml"), true, false), ("[]\n".to_owned(), true));
    }

    #[test]
    fn problems_are_text_with_a_count_or_json_objects() {
        let options = options("bad/empty_model_list.toml");
        let (text, ok) = check(&options, false, false);
        assert!(!ok && text.ends_with("\n1 error\n"), "{text}");
        let (text, ok) = check(&options, true, false);
        let problems: serde_json::Value = serde_json::from_str(&text).unwrap();
        let problem = problems[0].as_object().unwrap();
        let names: Vec<&str> = problem.keys().map(String::as_str).collect();
        assert!(!ok);
        assert_eq!(names, ["file", "line", "column", "path", "severity", "message", "help"]);
        assert_eq!((&problem["line"], &problem["column"]), (&4.into(), &10.into()));
        assert_eq!(problem["path"], "providers.openai.keys[0].models");
        assert_eq!(problem["severity"], "error");
    }
}
