//! What the table of features says becomes of each is what becomes of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

#[path = "translation/features.rs"]
mod features;

use features::{asking, has_member, plain};
use serde_json::Value;

use keymux::wire::api::Format;
use keymux::wire::feature::{Feature, Support};
use keymux::wire::format::quirks::PLAIN;
use keymux::wire::ir::Request;
use keymux::wire::translate::encode_request;

/// Where another model of the provider's takes what this one does not.
fn model(provider: Format, feature: Feature) -> &'static str {
    let thinks =
        matches!(feature, Feature::ReasoningEffort | Feature::ReasoningBudget | Feature::Reasoning);
    let of_penalties = matches!(feature, Feature::FrequencyPenalty | Feature::PresencePenalty);
    match provider {
        Format::OpenAiChat | Format::OpenAiResponses if thinks => "gpt-5",
        Format::OpenAiChat | Format::OpenAiResponses => "gpt-4o",
        Format::Anthropic if feature == Feature::ReasoningBudget => "claude-sonnet-4-5",
        Format::Anthropic if thinks => "claude-opus-4-5",
        Format::Anthropic => "claude-sonnet-4-5",
        Format::Gemini if feature == Feature::ReasoningEffort => "gemini-3-pro-preview",
        Format::Gemini if of_penalties => "gemini-2.0-flash",
        Format::Gemini => "gemini-2.5-flash",
        Format::Bedrock => "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        Format::Cohere => "command-a-reasoning-08-2025",
        Format::Replicate if feature == Feature::ReasoningEffort => "openai/gpt-5",
        Format::Replicate if feature == Feature::ReasoningBudget => "google/gemini-2.5-flash",
        Format::Replicate if feature == Feature::TopK || feature == Feature::StopSequences => {
            "meta/meta-llama-3-8b-instruct"
        }
        Format::Replicate => "openai/gpt-4o",
    }
}

/// Where the table has one word and the truth two.
const BETWEEN: &[(Format, Feature, &str)] = &[
    (
        Format::OpenAiResponses,
        Feature::Reasoning,
        "those that it has signed are said, and all others left out",
    ),
    (Format::Cohere, Feature::Citations, "documents are cited unless that is turned off"),
    (
        Format::Cohere,
        Feature::ReasoningEffort,
        "thinking is on or off: it is turned on, and the rest named",
    ),
    (Format::Replicate, Feature::SingleToolCall, "tools are refused before"),
];

/// What a request is compared with.
fn without(feature: Feature, provider: Format, model: &str) -> Request {
    match feature {
        Feature::StrictTools
        | Feature::ToolChoiceAny
        | Feature::ToolChoiceNamed
        | Feature::ToolChoiceNone
        | Feature::ToolChoiceAnyOf
        | Feature::SingleToolCall
            if Feature::Tools.support(provider) == Support::Supported =>
        {
            asking(Feature::Tools, provider, model)
        }
        _ => plain(model),
    }
}

#[test]
fn the_verdicts_are_true() {
    let mut wrong = Vec::new();
    for provider in Format::ALL {
        for feature in Feature::all() {
            let model = model(provider, feature);
            let encode = |request| encode_request(provider, Format::OpenAiChat, &request, &PLAIN);
            if BETWEEN.iter().any(|(format, own, _)| (*format, *own) == (provider, feature)) {
                continue;
            }
            let without = encode(without(feature, provider, model)).unwrap();
            let with = encode(asking(feature, provider, model));
            let seen = match &with {
                Err(refused) if refused.at.starts_with('/') => Support::Refused,
                Err(refused) => panic!("{} of {feature:?}: {refused}", provider.name()),
                Ok(with) if with.dropped.is_empty() => Support::Supported,
                Ok(_) => Support::Dropped,
            };
            let said = feature.support(provider);
            let body = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap();
            let differs = with.as_ref().is_ok_and(|with| body(&with.body) != body(&without.body));
            // A caller of the provider's own format is not translated, so nothing without a member of
            // its own in a request is ever said.
            let lost = seen == Support::Supported && !differs;
            if seen != said || lost {
                let (provider, by) = (provider.name(), has_member(feature));
                wrong.push(format!(
                    "{provider}, {feature:?} (a member: {by}): {said:?} by the table, {seen:?} in truth{}: {}",
                    if lost { ", and lost" } else { "" },
                    match with {
                        Ok(with) => format!("{:?} {}", with.dropped, String::from_utf8_lossy(&with.body)),
                        Err(refused) => refused.to_string(),
                    }
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
