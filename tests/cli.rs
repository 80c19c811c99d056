//! Output and exit codes of the commands that need no running gateway.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

mod common;

use std::fs;
use std::process::Output;

use common::keymux::run;
use serde_json::{Value, json};
use tempfile::TempDir;

const GOOD: &str = r#"
[[clients]]
name = "staging"
key = "a-key-of-staging"
blacklisted_models = ["*-audio"]

[[clients]]
name = "other"
key = "a-key-of-the-other"
enabled = false

[providers.openai]
[[providers.openai.keys]]
name = "team-a"
value = { env_var = "OPENAI_KEY_A" }
weight = 3
models = ["gpt-4o*", "o3"]
[[providers.openai.keys]]
name = "team-b"
value = "sk-literal-team-b"
blacklisted_models = ["o3"]
[[providers.openai.keys]]
name = "spare"
value = "sk-literal-spare"
weight = 0
[[providers.openai.keys]]
name = "off"
value = { env_var = "NOT_SET" }
enabled = false
[[providers.openai.keys]]
name = "theirs"
value = "sk-literal-theirs"
clients = ["staging"]
models = ["o3"]

[providers.echo]
[[providers.echo.keys]]
name = "e"

[routes.fast]
targets = [{ model = "openai/gpt-4o", weight = 3 }, { model = "echo/echo" }]
fallbacks = ["openai/o3"]
"#;

fn folder(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("keymux.toml"), text).unwrap();
    folder
}

fn run_in(folder: &TempDir, arguments: &[&str]) -> Output {
    run(folder.path(), arguments, &[("OPENAI_KEY_A", "sk-of-team-a")])
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Returns the line about one key.
fn line<'t>(text: &'t str, key: &str) -> &'t str {
    let of_key = |line: &&str| line.split_whitespace().any(|word| word == key);
    text.lines().find(of_key).unwrap_or_else(|| panic!("no {key} in {text}"))
}

#[test]
fn check_prints_ok_or_all_problems() {
    let good = folder(GOOD);
    let output = run_in(&good, &["check"]);
    assert_eq!((output.status.code(), out(&output)), (Some(0), "keymux.toml: ok\n".to_owned()));
    let output = run_in(&good, &["check", "--json"]);
    assert_eq!((output.status.code(), out(&output)), (Some(0), "[]\n".to_owned()));

    let bad = folder(&GOOD.replace("weight = 3\n", "weight = -3\nwieght = 1\n"));
    let output = run_in(&bad, &["check", "--config", "keymux.toml"]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(1));
    for words in ["keymux.toml:16:", "keymux.toml:17:", "did you mean `weight`?", "2 errors"] {
        assert!(text.contains(words), "{words} in {text}");
    }
    let output = run_in(&bad, &["check", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let problems: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut lines = Vec::new();
    for problem in problems.as_array().unwrap() {
        let fields: Vec<&String> = problem.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["file", "line", "column", "path", "severity", "message", "help"]);
        assert_eq!(problem["severity"], "error");
        lines.push(problem["line"].as_u64().unwrap());
    }
    lines.sort_unstable();
    assert_eq!(lines, [16, 17]);
}

#[test]
fn a_missing_variable_names_itself_and_its_field() {
    let output = run(folder(GOOD).path(), &["check"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = out(&output);
    assert!(
        text.contains("OPENAI_KEY_A") && text.contains("providers.openai.keys[0].value"),
        "{text}"
    );
    assert!(!text.contains("NOT_SET"), "sources of a disabled key are not resolved: {text}");
}

#[test]
fn every_command_reports_a_missing_file() {
    let empty = tempfile::tempdir().unwrap();
    for (arguments, code) in [
        (&["check", "--config", "none.toml"][..], 1),
        (&["keys", "--config", "none.toml"], 1),
        (&["explain", "m", "--config", "none.toml"], 1),
        (&["healthcheck", "--config", "none.toml"], 1),
        (&["run", "--config", "none.toml"], 78),
        (&["--config", "none.toml"], 78),
    ] {
        let output = run_in(&empty, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let text = out(&output) + &err(&output);
        assert!(
            arguments[0] == "healthcheck" || text.contains("none.toml"),
            "{arguments:?}: {text}"
        );
    }
}

#[test]
fn explain_shows_shares_and_why_keys_are_excluded() {
    let folder = folder(GOOD);
    let output = run_in(&folder, &["explain", "gpt-4o"]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("openai/gpt-4o\n"), "{text}");
    assert!(line(&text, "team-a").contains("75.0000 %"), "{text}");
    assert!(line(&text, "team-b").contains("25.0000 %"), "{text}");
    assert!(line(&text, "spare").contains("standby"), "{text}");
    assert!(line(&text, "off").contains("excluded: disabled"), "{text}");
    assert!(line(&text, "theirs").contains("excluded: for other clients"), "{text}");
    assert!(line(&text, "conversation").contains("4 kB"), "{text}");
    for (affinity, word) in [("session", "session"), ("none", "every")] {
        let set = format!("providers.openai.affinity={affinity}");
        let text = out(&run_in(&folder, &["explain", "gpt-4o", "--set", &set]));
        assert!(line(&text, word).ends_with(&format!("(affinity: {affinity})")), "{text}");
    }

    let text = out(&run_in(&folder, &["explain", "openai/o3"]));
    assert!(line(&text, "team-a").contains("100.0000 %"), "{text}");
    assert!(line(&text, "team-b").contains("excluded: its blacklisted_models"), "{text}");

    let text = out(&run_in(&folder, &["explain", "openai/o3", "--client", "staging"]));
    assert!(line(&text, "theirs").contains("100.0000 %"), "{text}");
    assert!(
        line(&text, "team-a").contains("excluded: keys that name this client are preferred"),
        "{text}"
    );
}

#[test]
fn explain_shows_a_route_in_order() {
    let text = out(&run_in(&folder(GOOD), &["explain", "fast"]));
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words} in {text}"));
    let first = at("target, 75.0000 %: openai/gpt-4o");
    let second = at("target, 25.0000 %: echo/echo");
    assert!(first < second && second < at("fallback 1: openai/o3"), "{text}");
}

#[test]
fn explain_fails_if_a_request_would() {
    let folder = folder(GOOD);
    for (arguments, words) in [
        (&["explain", "echo/x", "--client", "nobody"][..], "there is no client `nobody`"),
        (&["explain", "echo/x", "--client", "other"], "disabled"),
        (&["explain", "openai/gpt-4o-audio", "--client", "staging"], "blacklisted_models"),
        (&["explain", "unknown-model"], "accept any model"),
        (&["explain", "openai/"], "the model name is empty"),
    ] {
        let output = run_in(&folder, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let text = out(&output) + &err(&output);
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}

#[test]
fn keys_are_listed_without_their_secrets() {
    let folder = folder(GOOD);
    let output = run_in(&folder, &["keys"]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(0));
    assert!(line(&text, "team-a").contains("env OPENAI_KEY_A"), "{text}");
    assert!(line(&text, "team-a").contains("gpt-4o*,o3"), "{text}");
    assert!(line(&text, "team-b").contains("all,!o3"), "{text}");
    assert!(line(&text, "off").ends_with("no"), "{text}");

    let keys: Value = serde_json::from_slice(&run_in(&folder, &["keys", "--json"]).stdout).unwrap();
    let keys = keys.as_array().unwrap();
    let key = |name: &str| keys.iter().find(|key| key["name"] == name).unwrap();
    assert_eq!(keys.len(), 6);
    assert_eq!(key("theirs")["clients"], json!(["staging"]));
    assert_eq!(key("team-a")["weight"], 3.0);
    assert_eq!(key("spare")["enabled"], true);
    assert!(key("e")["fingerprint"].is_null() && key("team-b")["fingerprint"].is_string());
    assert_ne!(key("team-b")["fingerprint"], key("spare")["fingerprint"]);
    let all = text + &serde_json::to_string(keys).unwrap();
    for piece in ["sk-of", "sk-lit", "literal-t", "a-key-of"] {
        assert!(!all.contains(piece), "{piece} in {all}");
    }
}

#[test]
fn flags_and_variables_override_settings() {
    let folder = folder(GOOD);
    let output = run_in(&folder, &["check", "--set", "server.max_body=lots"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("max_body"), "{}", out(&output));
    let env = [("OPENAI_KEY_A", "x-key"), ("KEYMUX_SERVER__LISTEN", "nowhere")];
    let output = run(folder.path(), &["check"], &env);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("KEYMUX_SERVER__LISTEN"), "{}", out(&output));
    let output = run_in(&folder, &["check", "--set", "server.max_body=1MiB"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn schema_prints_json_schema_without_a_file() {
    let empty = tempfile::tempdir().unwrap();
    let output = run_in(&empty, &["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"));
    for section in
        ["server", "admin", "clients", "providers", "routes", "retry", "reload", "include"]
    {
        assert!(schema["properties"].get(section).is_some(), "{section}");
    }
}

#[test]
fn unknown_arguments_end_with_exit_code_2() {
    let empty = tempfile::tempdir().unwrap();
    for arguments in [&["chekc"][..], &["check", "--jsno"], &["explain"], &["check", "--set", "x"]]
    {
        let output = run_in(&empty, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(out(&output).is_empty() && !err(&output).is_empty());
    }
    for arguments in [&["--help"][..], &["--version"], &["check", "--help"]] {
        let output = run_in(&empty, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(out(&output).contains("keymux") || out(&output).contains("config"));
    }
}
