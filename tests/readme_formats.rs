//! The README's tables of formats, made from the code: what stands there is what happens.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

use std::fmt::Write as _;

use keymux::provider::{Conversion, Kind};
use keymux::wire::Operation;
use keymux::wire::feature::{Feature, Verdict};
use keymux::wire::translate::Wire;

const README: &str = include_str!("../README.md");

/// Asserts that the table stands in the README, and prints it where it does not.
fn stands_there(table: &str) {
    assert!(README.contains(table), "README.md has another table than this one:\n\n{table}");
}

/// What a format is called in the tables.
fn short(wire: Wire) -> &'static str {
    match wire {
        Wire::OpenAiChat => "chat",
        Wire::OpenAiResponses => "responses",
        Wire::Anthropic | Wire::Gemini | Wire::Bedrock | Wire::Cohere | Wire::Replicate => {
            wire.name()
        }
    }
}

fn row(cells: &[String], out: &mut String) {
    writeln!(out, "| {} |", cells.join(" | ")).unwrap();
}

fn head(first: &[&str], wires: &[Wire], out: &mut String) {
    let names = first.iter().copied().chain(wires.iter().map(|wire| short(*wire)));
    row(&names.map(str::to_owned).collect::<Vec<_>>(), out);
    writeln!(out, "|{}", "---|".repeat(first.len() + wires.len())).unwrap();
}

#[test]
fn what_becomes_of_each_thing_that_is_asked_for() {
    let mut table = String::new();
    head(&["what is asked for", "by callers of"], &Wire::ALL, &mut table);
    for feature in Feature::all() {
        let callers: Vec<_> =
            Wire::OF_CALLERS.into_iter().filter(|wire| wire.place(feature).is_some()).collect();
        let callers = match callers.len() {
            0 => continue,
            5 => "all".to_owned(),
            _ => callers.into_iter().map(short).collect::<Vec<_>>().join(", "),
        };
        let mut cells = vec![feature.name().to_owned(), callers];
        cells.extend(Wire::ALL.map(|wire| {
            match wire.verdict(feature) {
                Verdict::Said => "yes",
                Verdict::Dropped => "dropped",
                Verdict::Refused => "400",
            }
            .to_owned()
        }));
        row(&cells, &mut table);
    }
    stands_there(&table);
}

#[test]
fn in_which_format_each_kind_of_provider_is_asked() {
    let mut table = String::new();
    head(&["kind"], &Wire::OF_CALLERS, &mut table);
    for kind in Kind::all() {
        let mut cells = vec![format!("`{}`", kind.name())];
        cells.extend(Wire::OF_CALLERS.map(|caller| way(kind, caller.operation(false))));
        row(&cells, &mut table);
    }
    stands_there(&table);
}

/// How a kind is asked, and for which models in another way.
fn way(kind: Kind, operation: Operation) -> String {
    let of = |model: &str| match kind.conversion(operation, None, [model; 2]) {
        Conversion::Verbatim => "as it is".to_owned(),
        Conversion::Translate(wire) => short(wire).to_owned(),
        Conversion::Unsupported | Conversion::Embeddings(_) | Conversion::CountTokens(_) => {
            "not".to_owned()
        }
    };
    let mut told = of("m");
    for (name, model) in [("Claude", "claude-haiku-4-5"), ("OpenAI's", "openai.gpt-oss-20b-1:0")] {
        let other = of(model);
        if other != of("m") {
            write!(told, "; {name}: {other}").unwrap();
        }
    }
    told
}
