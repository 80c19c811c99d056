//! The README's tables of formats, made from the code: what stands there is what happens.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

use std::fmt::Write as _;

use keymux::provider::{Kind, Way};
use keymux::wire::api::{Operation, Format};
use keymux::wire::feature::{Feature, Support};

const README: &str = include_str!("../README.md");

/// Asserts that the table stands in the README, and prints it where it does not.
fn stands_there(table: &str) {
    assert!(README.contains(table), "README.md has another table than this one:\n\n{table}");
}

/// What a format is called in the tables.
fn short(format: Format) -> &'static str {
    match format {
        Format::OpenAiChat => "chat",
        Format::OpenAiResponses => "responses",
        Format::Anthropic | Format::Gemini | Format::Bedrock | Format::Cohere | Format::Replicate => {
            format.name()
        }
    }
}

fn row(cells: &[String], out: &mut String) {
    writeln!(out, "| {} |", cells.join(" | ")).unwrap();
}

fn head(first: &[&str], wires: &[Format], out: &mut String) {
    let names = first.iter().copied().chain(wires.iter().map(|format| short(*format)));
    row(&names.map(str::to_owned).collect::<Vec<_>>(), out);
    writeln!(out, "|{}", "---|".repeat(first.len() + wires.len())).unwrap();
}

#[test]
fn what_becomes_of_each_thing_that_is_asked_for() {
    let mut table = String::new();
    head(&["what is asked for", "by callers of"], &Format::ALL, &mut table);
    for feature in Feature::all() {
        let callers: Vec<_> =
            Format::OF_CALLERS.into_iter().filter(|format| format.place(feature).is_some()).collect();
        let callers = match callers.len() {
            0 => continue,
            5 => "all".to_owned(),
            _ => callers.into_iter().map(short).collect::<Vec<_>>().join(", "),
        };
        let mut cells = vec![feature.name().to_owned(), callers];
        cells.extend(Format::ALL.map(|format| {
            match format.verdict(feature) {
                Support::Supported => "yes",
                Support::Dropped => "dropped",
                Support::Refused => "400",
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
    head(&["kind"], &Format::OF_CALLERS, &mut table);
    for kind in Kind::all() {
        let mut cells = vec![format!("`{}`", kind.name())];
        cells.extend(Format::OF_CALLERS.map(|caller| way(kind, caller.operation(false))));
        row(&cells, &mut table);
    }
    stands_there(&table);
}

/// How a kind is asked, and for which models in another way.
fn way(kind: Kind, operation: Operation) -> String {
    let of = |model: &str| match kind.way(operation, None, [model; 2]) {
        Way::Same => "as it is".to_owned(),
        Way::Through(format) => short(format).to_owned(),
        Way::Not | Way::Embed(_) | Way::Count(_) => "not".to_owned(),
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
