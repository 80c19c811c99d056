//! Who may use whom, held over all of `src`. The tables below are the rule; the rest reads.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

#[path = "layers/graph.rs"]
mod graph;
#[path = "layers/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use graph::Graph;
use source::{Source, Token};

/// Each room and the rooms it may use. A room is a module of the crate's root, or `main`.
const ROOMS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("secret", &[]),
    ("share", &[]),
    ("observe", &[]),
    ("provider", &["wire"]),
    ("config", &["provider", "wire", "secret"]),
    ("route", &["config", "provider", "share"]),
    ("keys", &["config", "wire", "secret", "share"]),
    ("upstream", &["keys", "route", "provider", "wire", "secret", "config"]),
    (
        "gateway",
        &["upstream", "keys", "route", "provider", "wire", "secret", "share", "config", "observe"],
    ),
    (
        "admin",
        &[
            "gateway", "upstream", "keys", "route", "provider", "wire", "secret", "share",
            "config", "observe",
        ],
    ),
    (
        "cli",
        &[
            "admin", "gateway", "upstream", "keys", "route", "provider", "wire", "secret", "share",
            "config", "observe",
        ],
    ),
    ("main", &["cli"]),
];

/// Rooms whose own rooms have an order: each uses itself and those before it.
const ORDERED: &[(&str, &[&str])] = &[
    (
        "src/wire",
        &[
            "json",
            "api",
            "frame",
            "failure",
            "inspect",
            "feature",
            "ir",
            "models",
            "fit",
            "format",
            "embeddings",
            "token_count",
            "translate",
        ],
    ),
    (
        "src/gateway",
        &[
            "deadline",
            "catch_panic",
            "tls",
            "retry_budget",
            "body_memory",
            "scripted_provider",
            "mod",
            "record",
            "response",
            "attempt",
            "request",
            "server",
            "diff",
            "reload",
            "check",
        ],
    ),
];

/// Words, and the only places of `src` where they may stand.
const WORDS: &[(&str, &[&str])] = &[
    ("expose", &["src/upstream/", "src/secret.rs"]),
    ("expose_secret", &["src/secret.rs"]),
    ("inspect_text", &["src/config/check/", "src/secret.rs"]),
];

/// Crates that `wire` may not name: it has no I/O, no clock and no log.
const NOT_IN_WIRE: &[&str] = &["tokio", "hyper", "hyper_util", "http", "http_body_util", "tracing"];

/// Module names that say nothing of what lives there.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"];

const MOST_LINES: usize = 600;

/// Files that may be longer, because they are tables. Add the reason as a comment.
const TABLES: &[&str] = &[
    // The written form: fields, each with the sentence that the schema shows for it.
    "src/config/file.rs",
];

#[test]
fn the_source_keeps_the_rules() {
    let sources = Source::all(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(sources.len() > 5, "no source found");
    let broken = broken_rules(&sources);
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

/// Every broken rule in words, in order of files.
fn broken_rules(sources: &[Source]) -> Vec<String> {
    let mut broken: Vec<String> = sources.iter().flat_map(broken_in).collect();
    let paths: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let missing = TABLES.iter().filter(|table| !paths.contains(*table));
    // Only the whole source can lack a table.
    let missing = missing.filter(|_| paths.contains("src/lib.rs"));
    broken.extend(missing.map(|table| format!("{table}: listed as a table, and not there")));
    broken.extend(cycle(sources).map(|rooms| format!("a circle: {}", rooms.join(" -> "))));
    let graph = Graph::of(sources);
    broken.extend(graph.cycles().iter().map(|files| format!("a cycle: {}", files.join(", "))));
    broken.extend(ORDERED.iter().flat_map(|(room, order)| out_of_order(room, order, &graph)));
    broken
}

/// Arrows within a room from one of its rooms to a later one.
fn out_of_order(room: &str, order: &[&str], graph: &Graph) -> Vec<String> {
    let place = |file: &str| {
        let name = file.strip_prefix(room)?.strip_prefix('/')?.split(['/', '.']).next()?;
        order.iter().position(|known| *known == name)
    };
    let mut broken = Vec::new();
    for (from, used) in &graph.arrows {
        let Some(own) = place(from) else { continue };
        for (to, line) in used {
            if let Some(other) = place(to).filter(|other| *other > own) {
                broken.push(format!(
                    "{from}:{line}: {} uses {}, which comes later",
                    order[own], order[other]
                ));
            }
        }
    }
    broken
}

fn broken_in(source: &Source) -> Vec<String> {
    let mut broken = Vec::new();
    let mut at = |line: usize, problem: String| {
        broken.push(format!("{}:{line}: {problem}", source.path));
    };
    if source.lines > MOST_LINES && !TABLES.contains(&source.path.as_str()) {
        at(source.lines, format!("more than {MOST_LINES} lines"));
    }
    for name in source.module_names().filter(|name| EMPTY_NAMES.contains(&name.as_str())) {
        at(1, format!("a module called {name} says nothing of what lives there"));
    }
    for Token { text, line } in &source.tokens {
        for (word, places) in WORDS {
            if text == word && !places.iter().any(|place| source.path.starts_with(place)) {
                at(*line, format!("{word} stands in {} only", places.join(" and ")));
            }
        }
    }
    let Some(room) = source.room() else { return broken };
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        at(1, format!("{room} has no place in the table of tests/layers.rs"));
        return broken;
    };
    for (used, line) in source.uses() {
        if used == "*" {
            at(line, "crate::* hides what is used".to_owned());
        } else if is_room(&used) && used != room && !allowed.contains(&used.as_str()) {
            at(line, format!("{room} uses {used}; it may use {}", list(allowed)));
        }
    }
    if room == "wire" {
        for (name, line) in source.crates_named(NOT_IN_WIRE) {
            at(line, format!("wire names {name}"));
        }
    }
    broken
}

fn is_room(name: &str) -> bool {
    ROOMS.iter().any(|(room, _)| *room == name)
}

fn list(rooms: &[&str]) -> String {
    if rooms.is_empty() { "none of ours".to_owned() } else { rooms.join(", ") }
}

/// A circle among the rooms as they are used, whatever the table says.
fn cycle(sources: &[Source]) -> Option<Vec<String>> {
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let Some(room) = source.room() else { continue };
        let used = source.uses().into_iter().map(|(used, _)| used);
        let used = used.filter(|used| is_room(used) && *used != room);
        arrows.entry(room.clone()).or_default().extend(used);
    }
    let mut done = BTreeSet::new();
    arrows.keys().find_map(|room| walk(room, &arrows, &mut Vec::new(), &mut done))
}

fn walk(
    room: &str,
    arrows: &BTreeMap<String, BTreeSet<String>>,
    way: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(start) = way.iter().position(|before| before == room) {
        return Some([&way[start..], &[room.to_owned()]].concat());
    }
    if !done.insert(room.to_owned()) {
        return None;
    }
    way.push(room.to_owned());
    let found =
        arrows.get(room).into_iter().flatten().find_map(|next| walk(next, arrows, way, done));
    way.pop();
    found
}

mod rules {
    use super::*;

    fn broken(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> =
            files.iter().map(|(path, text)| Source::new(path, text)).collect();
        broken_rules(&sources)
    }

    #[test]
    fn an_arrow_that_the_table_lacks_is_broken() {
        assert_eq!(
            broken(&[("src/keys/select.rs", "//! doc\nuse crate::route::Attempt;\n")]),
            ["src/keys/select.rs:2: keys uses route; it may use config, wire, secret, share"]
        );
        assert_eq!(
            broken(&[("src/secret.rs", "fn f() { crate::wire::f() }")]),
            ["src/secret.rs:1: secret uses wire; it may use none of ours"]
        );
        assert_eq!(
            broken(&[("src/main.rs", "use keymux::{cli, config::Config};")]),
            ["src/main.rs:1: main uses config; it may use cli"]
        );
        assert!(broken(&[("src/keys/select.rs", "use crate::config::Key;")]).is_empty());
    }

    #[test]
    fn a_circle_is_named() {
        let files = [
            ("src/gateway/mod.rs", "use crate::admin::Page;"),
            ("src/admin/mod.rs", "use crate::config::Config; use crate::gateway::Gateway;"),
        ];
        let broken = broken(&files);
        assert!(broken.contains(&"a circle: admin -> gateway -> admin".to_owned()));
        assert!(broken[0].starts_with("src/gateway/mod.rs:1: gateway uses admin"));
    }

    #[test]
    fn wire_names_no_runtime() {
        let text = "use std::fmt;\nuse tokio::sync::Notify;\nfn f(m: http::Method) {}\n";
        assert_eq!(
            broken(&[("src/wire/peek.rs", text)]),
            ["src/wire/peek.rs:2: wire names tokio", "src/wire/peek.rs:3: wire names http"]
        );
        let fine = "/// Not tokio::sync.\nfn http(hyper: &str) -> &str { \"tracing::info\" }";
        assert!(broken(&[("src/wire/peek.rs", fine)]).is_empty());
    }

    #[test]
    fn secrets_are_opened_upstream_only() {
        let text = "fn f(s: &Secret) -> usize {\n    s.expose().len()\n}";
        assert_eq!(
            broken(&[("src/config/check.rs", text)]),
            ["src/config/check.rs:2: expose stands in src/upstream/ and src/secret.rs only"]
        );
        let pointer = "fn f(s: Option<&Secret>) { s.map(Secret::expose); }";
        assert_eq!(broken(&[("src/keys/select.rs", pointer)]).len(), 1);
        assert!(broken(&[("src/upstream/auth.rs", text)]).is_empty());
        assert!(broken(&[("src/config/check.rs", "// never .expose( here")]).is_empty());
    }

    #[test]
    fn long_files_and_empty_names_are_broken() {
        assert_eq!(
            broken(&[("src/config/check.rs", &"\n".repeat(601))]),
            ["src/config/check.rs:601: more than 600 lines"]
        );
        assert_eq!(broken(&[("src/config/utils.rs", "")]).len(), 1);
        assert_eq!(broken(&[("src/config/common/mod.rs", "")]).len(), 1);
        assert_eq!(broken(&[("src/config/mod.rs", "mod helpers { fn f() {} }")]).len(), 1);
    }

    #[test]
    fn a_room_without_a_place_is_broken() {
        let found = broken(&[("src/cache/mod.rs", "")]);
        assert_eq!(
            found,
            ["src/cache/mod.rs:1: cache has no place in the table of tests/layers.rs"]
        );
    }

    #[test]
    fn the_table_itself_has_no_circle_and_no_stranger() {
        for (room, allowed) in ROOMS {
            for other in *allowed {
                let (_, back) = ROOMS.iter().find(|(name, _)| name == other).unwrap();
                assert!(!back.contains(room), "{room} and {other} use each other");
            }
        }
    }
}
