//! `config.example.toml` and the files under `examples/`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use keymux::config::{Loaded, Severity};
use proptest::prelude::*;
use serde_json::Value as Json;

use crate::world::World;

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn example() -> String {
    fs::read_to_string(root().join("config.example.toml")).unwrap()
}

/// Returns the example with its commented settings enabled.
fn uncommented() -> String {
    let lines = example().lines().map(str::to_owned).collect::<Vec<_>>();
    let setting =
        |line: &str| line.starts_with(|first: char| first == '[' || first.is_ascii_alphabetic());
    let lines = lines.into_iter().map(|line| match line.strip_prefix('#') {
        Some(rest) if setting(rest) => rest.to_owned(),
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn load_text(text: &str) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("keymux.toml"), text).unwrap();
    World::new(dir.path()).load("keymux.toml")
}

#[test]
fn the_example_runs_without_any_key() {
    let loaded = World::new(&root()).load("config.example.toml");
    assert_eq!(loaded.problems, []);
    let config = loaded.config.unwrap();
    assert_eq!(config.providers.len(), 1);
    assert_eq!(config.providers[0].keys.len(), 2);
    assert!(config.resolve_model("demo").is_ok());
}

#[test]
fn the_uncommented_example_needs_only_keys_and_files() {
    let loaded = load_text(&uncommented());
    for problem in &loaded.problems {
        let expected = ["is not set", "cannot be read", "is used literally"];
        assert!(expected.iter().any(|part| problem.message.contains(part)), "{problem}");
    }
}

#[test]
fn the_example_contains_every_setting_and_default() {
    let schema: Json = serde_json::from_str(&keymux::config::schema::json_schema()).unwrap();
    let file: toml::Table = toml::from_str(&uncommented()).unwrap();
    let mut seen = BTreeSet::new();
    walk(&schema, &schema, &toml::Value::Table(file), "", &mut seen);
    let mut all = BTreeSet::new();
    settings(&schema, &schema, "", &mut all);
    let missing: Vec<_> = all.difference(&seen).collect();
    assert!(missing.is_empty(), "not in config.example.toml: {missing:?}");

    // In these sections the example contains the defaults.
    let file: toml::Table = toml::from_str(&uncommented()).unwrap();
    for section in ["server", "admin", "reload", "retry"] {
        defaults(&schema, target(&schema, &schema["properties"][section]), &file[section], section);
    }
}

fn target<'s>(schema: &'s Json, node: &'s Json) -> &'s Json {
    let reference = node["$ref"].as_str();
    reference.map_or(node, |path| schema.pointer(path.trim_start_matches('#')).unwrap())
}

/// Collects the paths of all settings of the schema, with `*` for names and indices of the user.
fn settings(schema: &Json, node: &Json, at: &str, all: &mut BTreeSet<String>) {
    let node = target(schema, node);
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        let path = format!("{at}.{name}");
        settings(schema, property, &path, all);
        all.insert(path);
    }
    for part in ["additionalProperties", "items"] {
        if node[part].is_object() {
            settings(schema, &node[part], &format!("{at}.*"), all);
        }
    }
}

/// Collects the paths of all settings in the file.
fn walk(schema: &Json, node: &Json, value: &toml::Value, at: &str, seen: &mut BTreeSet<String>) {
    let node = target(schema, node);
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let own = node["properties"].get(name);
                let path = if own.is_some() { format!("{at}.{name}") } else { format!("{at}.*") };
                seen.insert(path.clone());
                walk(schema, own.unwrap_or(&node["additionalProperties"]), value, &path, seen);
            }
        }
        toml::Value::Array(items) => {
            for item in items {
                walk(schema, &node["items"], item, &format!("{at}.*"), seen);
            }
        }
        _ => {}
    }
}

fn defaults(schema: &Json, node: &Json, value: &toml::Value, at: &str) {
    for (name, value) in value.as_table().unwrap() {
        let property = &node["properties"][name];
        if value.is_table() {
            defaults(schema, target(schema, property), value, &format!("{at}.{name}"));
        } else if property.get("default").is_some() {
            assert_eq!(serde_json::to_value(value).unwrap(), property["default"], "{at}.{name}");
        }
    }
}

#[test]
fn each_small_example_loads() {
    for (file, variables) in [
        ("minimal.toml", &["OPENAI_API_KEY"][..]),
        (
            "failover.toml",
            &["GROQ_KEY_MAIN", "GROQ_KEY_SECOND", "GROQ_KEY_RESERVE", "OPENAI_API_KEY"],
        ),
        (
            "teams.toml",
            &[
                "SEARCH_CLIENT_KEY",
                "SUPPORT_CLIENT_KEY",
                "RESEARCH_CLIENT_KEY",
                "OPENAI_KEY_COMPANY",
                "OPENAI_KEY_RESEARCH",
            ],
        ),
        ("local.toml", &[]),
        ("azure.toml", &["AZURE_OPENAI_KEY", "AZURE_CLIENT_SECRET"]),
        ("vertex.toml", &[]),
        ("bedrock.toml", &["AWS_BEARER_TOKEN", "EU_ACCESS_KEY_ID", "EU_SECRET_ACCESS_KEY"]),
        ("native.toml", &["ANTHROPIC_API_KEY", "GEMINI_API_KEY"]),
    ] {
        let mut world = World::new(&root().join("examples"));
        for name in variables {
            world.set(name, &format!("sk-{name}"));
        }
        let loaded = world.load(file);
        assert_eq!(loaded.problems, [], "{file}");
        assert!(loaded.config.is_some(), "{file}");
    }
    let count = fs::read_dir(root().join("examples")).unwrap().filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension().is_some_and(|extension| extension == "toml")
    });
    assert!(count.count() >= 8);
}

#[test]
fn loading_a_truncated_example_does_not_panic() {
    let text = uncommented();
    let dir = tempfile::tempdir().unwrap();
    let path: &Path = &dir.path().join("keymux.toml");
    for end in (0..text.len()).step_by(29).filter(|end| text.is_char_boundary(*end)) {
        fs::write(path, &text[..end]).unwrap();
        let loaded = World::new(dir.path()).load("keymux.toml");
        let is_valid = loaded.problems.iter().all(|problem| problem.severity == Severity::Warning);
        assert_eq!(loaded.config.is_some(), is_valid, "{end}");
        keymux::config::problem::render(&loaded.problems, false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_are_reported_and_do_not_panic(at in 0usize..12_000, cut in 0usize..40, insert in "[\\PC\t\r\n\"'=\\[\\]{}#.]{0,12}") {
        let mut text: Vec<char> = uncommented().chars().collect();
        let start = at.min(text.len());
        let end = (start + cut).min(text.len());
        text.splice(start..end, insert.chars());
        let loaded = load_text(&text.into_iter().collect::<String>());
        let shown = keymux::config::problem::render(&loaded.problems, true);
        prop_assert!(!shown.contains("sk-example"));
    }
}
