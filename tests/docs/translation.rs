//! docs/translation.md: its tables of formats are written from the tables that the encoders use.

use std::fmt::Write as _;

use keymux::provider::{Conversion, Kind};
use keymux::wire::api::{Format, Operation};
use keymux::wire::feature::{Feature, Support};

use crate::page::{assert_generated, header, row};

const PAGE: &str = "docs/translation.md";

/// The name of a format in the tables.
fn short(format: Format) -> &'static str {
    match format {
        Format::OpenAiChat => "chat",
        Format::OpenAiResponses => "responses",
        Format::Anthropic
        | Format::Gemini
        | Format::Bedrock
        | Format::Cohere
        | Format::Replicate => format.name(),
    }
}

fn titles(first: &[&'static str], formats: &[Format]) -> String {
    header(first.iter().copied().chain(formats.iter().map(|format| short(*format))))
}

#[test]
fn the_table_of_features_is_what_the_encoders_do() {
    let mut table = titles(&["feature", "callers that can request it"], &Format::ALL);
    for feature in Feature::all() {
        let callers: Vec<_> = Format::CALLER_FORMATS
            .into_iter()
            .filter(|format| feature.place(*format).is_some())
            .collect();
        let callers = match callers.len() {
            0 => continue,
            5 => "all".to_owned(),
            _ => callers.into_iter().map(short).collect::<Vec<_>>().join(", "),
        };
        let verdicts = Format::ALL.map(|format| match feature.support(format) {
            Support::Supported => "yes",
            Support::Dropped => "dropped",
            Support::Refused => "400",
        });
        table.push_str(&row([feature.name(), &callers].into_iter().chain(verdicts)));
    }
    assert_generated(PAGE, "features", &table);
}

#[test]
fn the_table_of_kinds_has_the_format_that_each_receives() {
    let mut table = titles(&["kind"], &Format::CALLER_FORMATS);
    for kind in Kind::all() {
        let name = format!("`{}`", kind.name());
        let cells = Format::CALLER_FORMATS.map(|caller| received(kind, caller.operation(false)));
        table.push_str(&row([name].into_iter().chain(cells)));
    }
    assert_generated(PAGE, "kinds", &table);
}

/// The format that a kind receives, and the models for which it is another.
fn received(kind: Kind, operation: Operation) -> String {
    let format_for = |model: &str| match kind.conversion(operation, None, [model; 2]) {
        Conversion::Verbatim => "unchanged".to_owned(),
        Conversion::Translate(format) => short(format).to_owned(),
        Conversion::Unsupported | Conversion::Embeddings(_) | Conversion::CountTokens(_) => {
            "not supported".to_owned()
        }
    };
    let usual = format_for("m");
    let mut cell = usual.clone();
    for (maker, model) in [("Claude", "claude-haiku-4-5"), ("OpenAI's", "openai.gpt-oss-20b-1:0")] {
        let other = format_for(model);
        if other != usual {
            write!(cell, "; {maker}: {other}").unwrap();
        }
    }
    cell
}
