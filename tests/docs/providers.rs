//! docs/providers.md: kinds, paths, embeddings and counts, stored objects.

use std::collections::BTreeSet;

use keymux::provider::{Auth, Conversion, Kind};
use keymux::wire::api::routes::{Place, find};
use keymux::wire::api::{Api, Operation};

use crate::page::{assert_generated, code, header, row, rows, section};
use crate::set;

const PAGE: &str = "docs/providers.md";

#[test]
fn the_table_of_kinds_is_the_programs() {
    let mut table = header(["`kind`", "address without `base_url`", "credential", "APIs"]);
    for kind in Kind::all() {
        let name = format!("`{}`", kind.name());
        table.push_str(&row([&*name, &address(kind), credential(kind), &apis(kind)]));
    }
    assert_generated(PAGE, "kinds", &table);
}

fn address(kind: Kind) -> String {
    let row = kind.info();
    let url = match row.base_url {
        Some(url) if row.auth == Auth::Cloud => {
            return format!("`{url}`, or that of the key's region");
        }
        Some(url) if url.starts_with("http") => format!("`{url}`"),
        Some(_) => return "inside keymux: repeats the words of the prompt".to_owned(),
        None if row.auth == Auth::Cloud => return "none: the key needs `endpoint`".to_owned(),
        None => return "none: `base_url` is required and used as written".to_owned(),
    };
    match (row.path_prefix, row.key_config) {
        ("", Some(_)) if !row.needs_value => format!("{url}, or the key's `url`"),
        ("", _) => url,
        (prefix, _) => format!("{url}; OpenAI's API under `{prefix}`"),
    }
}

fn credential(kind: Kind) -> &'static str {
    let row = kind.info();
    match (row.auth, row.needs_value) {
        (Auth::Bearer, true) => "`value`, as Bearer",
        (Auth::Bearer, false) => "`value` as Bearer, or none",
        (Auth::Anthropic, _) => "`value`, as `x-api-key`",
        (Auth::Gemini, _) => "`value`, as `x-goog-api-key`",
        (Auth::Cloud, _) => "see [Clouds](#clouds)",
        (Auth::None, _) => "none",
    }
}

/// The APIs of a kind, with the operations where it has only some of them.
fn apis(kind: Kind) -> String {
    let all = |api| {
        // The paths of Vertex are another way to Anthropic's messages.
        Operation::of(api).filter(|operation| {
            let vertex = operation.name().contains("raw_") || *operation == Operation::Predict;
            !operation.path().is_empty() && !vertex
        })
    };
    let one = |api: &Api| {
        let has: Vec<_> = all(*api).filter(|operation| kind.supports(*operation)).collect();
        if has.len() == all(*api).count() {
            return api.name().to_owned();
        }
        let names: Vec<_> = has.iter().map(|operation| operation.name()).collect();
        format!("{} ({})", api.name(), names.join(", "))
    };
    kind.info().apis.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_paths_are_the_operations() {
    let mut found = BTreeSet::new();
    for row in rows(&section(PAGE, "Paths")) {
        let mut method = "";
        for path in code(&row[1]) {
            let (verb, path) = path.split_once(' ').unwrap_or((method, path));
            method = verb;
            let requested = path.replace(['{', '}'], "").replace("//", "/x/");
            match (method, find(&requested)) {
                ("POST", Some(Place::Operation(address))) => {
                    assert_eq!(row[0], address.operation.api().name(), "{path}");
                    found.insert(address.operation.name());
                }
                ("GET", Some(Place::Models | Place::Model(_))) => {}
                (_, found) => panic!("{method} {path}: {found:?}"),
            }
        }
    }
    let all = Operation::all().filter(|operation| !operation.path().is_empty());
    assert_eq!(found, set(all.map(Operation::name)));
}

/// Models that show every way in which a kind makes embeddings or counts tokens.
fn models(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Vertex => {
            &["text-embedding-005", "gemini-embedding-2", "intfloat/e5-maas", "claude-x"]
        }
        Kind::Azure => &["gpt-x", "claude-x"],
        Kind::Bedrock => &[
            "amazon.titan-embed-text-v2:0",
            "amazon.nova-2-multimodal-embeddings-v1:0",
            "cohere.embed-v4:0",
            "anthropic.claude-x",
        ],
        _ => &["x"],
    }
}

#[test]
fn embeddings_and_counts_are_requested_at_the_listed_paths() {
    let mut listed = BTreeSet::new();
    for row in rows(&section(PAGE, "Embeddings and token counts")) {
        for name in code(&row[0]) {
            let kind = Kind::from_name(name).unwrap();
            assert!(listed.insert(name.to_owned()), "{name} has two rows");
            let paths = |operation: Operation| {
                let ways =
                    models(kind).iter().map(|model| kind.conversion(operation, None, [model; 2]));
                ways.filter_map(|way| match way {
                    Conversion::Embeddings(format) => Some(format.operation().path()),
                    Conversion::CountTokens(counter) => Some(counter.operation().path()),
                    Conversion::Verbatim => Some(operation.path()),
                    Conversion::Translate(_) | Conversion::Unsupported => None,
                })
                .collect::<BTreeSet<_>>()
            };
            let mut embeddings = paths(Operation::Embeddings);
            if kind == Kind::Cohere {
                // The request decides whether its compatible endpoint can be used.
                embeddings.insert(Operation::Embeddings.path());
            }
            // Requested in a format that none of these providers has, so that each receives its own.
            let counts = match kind {
                Kind::Anthropic | Kind::Azure => paths(Operation::GeminiCountTokens),
                _ => paths(Operation::CountTokens),
            };
            let in_cell = |cell| set(code(cell).into_iter().filter(|name| *name != "dimensions"));
            assert_eq!(in_cell(&row[1]), embeddings, "{name}");
            assert_eq!(in_cell(&row[2]), counts, "{name}");
        }
    }
    assert_eq!(listed, set(Kind::all().map(|kind| kind.name().to_owned())));
}

#[test]
fn the_paths_of_stored_objects_are_found() {
    let mut listed = BTreeSet::new();
    for row in rows(&section(PAGE, "Files, batches and stored responses")) {
        for path in code(&row[1]) {
            let Some(Place::StoredObject(stored)) = find(path) else { panic!("{path}") };
            assert_eq!(row[0], stored.operation.api().name(), "{path}");
            listed.insert(stored.operation.name());
        }
    }
    let all = Operation::all().filter(|operation| operation.path().is_empty());
    assert_eq!(listed, set(all.map(Operation::name)));
}
