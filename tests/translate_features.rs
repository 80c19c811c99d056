//! What the table of features says becomes of each is what becomes of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

#[path = "translation/features.rs"]
mod features;

use features::{asking, has_member, plain};
use serde_json::Value;

use keymux::wire::api::Wire;
use keymux::wire::feature::{Feature, Verdict};
use keymux::wire::format::quirks::PLAIN;
use keymux::wire::ir::Request;
use keymux::wire::translate::encode_request;

/// Where another model of the provider's takes what this one does not.
fn model(provider: Wire, feature: Feature) -> &'static str {
    let thinks = matches!(feature, Feature::Effort | Feature::Budget | Feature::Thoughts);
    let of_penalties = matches!(feature, Feature::FrequencyPenalty | Feature::PresencePenalty);
    match provider {
        Wire::OpenAiChat | Wire::OpenAiResponses if thinks => "gpt-5",
        Wire::OpenAiChat | Wire::OpenAiResponses => "gpt-4o",
        Wire::Anthropic if feature == Feature::Budget => "claude-sonnet-4-5",
        Wire::Anthropic if thinks => "claude-opus-4-5",
        Wire::Anthropic => "claude-sonnet-4-5",
        Wire::Gemini if feature == Feature::Effort => "gemini-3-pro-preview",
        Wire::Gemini if of_penalties => "gemini-2.0-flash",
        Wire::Gemini => "gemini-2.5-flash",
        Wire::Bedrock => "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        Wire::Cohere => "command-a-reasoning-08-2025",
        Wire::Replicate if feature == Feature::Effort => "openai/gpt-5",
        Wire::Replicate if feature == Feature::Budget => "google/gemini-2.5-flash",
        Wire::Replicate if feature == Feature::TopK || feature == Feature::StopSequences => {
            "meta/meta-llama-3-8b-instruct"
        }
        Wire::Replicate => "openai/gpt-4o",
    }
}

/// Where the table has one word and the truth two.
const BETWEEN: &[(Wire, Feature, &str)] = &[
    (
        Wire::OpenAiResponses,
        Feature::Thoughts,
        "those that it has signed are said, and all others left out",
    ),
    (Wire::Cohere, Feature::CitationsWanted, "documents are cited unless that is turned off"),
    (Wire::Cohere, Feature::Effort, "thinking is on or off: it is turned on, and the rest named"),
    (Wire::Replicate, Feature::OneCall, "tools are refused before"),
];

/// What a request is compared with.
fn without(feature: Feature, provider: Wire, model: &str) -> Request {
    match feature {
        Feature::StrictTools
        | Feature::ChoiceAny
        | Feature::ChoiceTool
        | Feature::ChoiceNone
        | Feature::ChoiceAnyOf
        | Feature::OneCall
            if provider.verdict(Feature::Tools) == Verdict::Said =>
        {
            asking(Feature::Tools, provider, model)
        }
        _ => plain(model),
    }
}

#[test]
fn the_verdicts_are_true() {
    let mut wrong = Vec::new();
    for provider in Wire::ALL {
        for feature in Feature::all() {
            let model = model(provider, feature);
            let encode = |request| encode_request(provider, Wire::OpenAiChat, &request, &PLAIN);
            if BETWEEN.iter().any(|(wire, own, _)| (*wire, *own) == (provider, feature)) {
                continue;
            }
            let without = encode(without(feature, provider, model)).unwrap();
            let with = encode(asking(feature, provider, model));
            let seen = match &with {
                Err(refused) if refused.at.starts_with('/') => Verdict::Refused,
                Err(refused) => panic!("{} of {feature:?}: {refused}", provider.name()),
                Ok(with) if with.dropped.is_empty() => Verdict::Said,
                Ok(_) => Verdict::Dropped,
            };
            let said = provider.verdict(feature);
            let body = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap();
            let differs = with.as_ref().is_ok_and(|with| body(&with.body) != body(&without.body));
            // A caller of the provider's own format is not translated, so nothing without a member of
            // its own in a request is ever said.
            let lost = seen == Verdict::Said && !differs;
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
