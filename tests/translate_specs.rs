//! Every request that is written for a provider is one by the provider's own description of its API.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stderr, reason = "says what was skipped and how much was read")]

#[path = "translation/cases.rs"]
#[allow(dead_code, reason = "each test reads what it needs")]
mod cases;
#[path = "wire_recorded/exchanges.rs"]
mod exchanges;
#[path = "translation/features.rs"]
#[allow(dead_code, reason = "each test reads what it needs")]
mod features;
#[path = "translation/specs.rs"]
mod specs;

use std::collections::BTreeMap;

use serde_json::Value;
use specs::{Discovery, OpenApi, Service, spec};

use keymux::wire::api::Format;
use keymux::wire::feature::Feature;
use keymux::wire::format::quirks::PLAIN;
use keymux::wire::ir::Request;
use keymux::wire::translate::encode_request;

/// Models whose requests differ.
fn models(provider: Format) -> &'static [&'static str] {
    match provider {
        Format::OpenAiChat | Format::OpenAiResponses => &["gpt-4o", "gpt-5"],
        Format::Anthropic => &["claude-sonnet-4-5", "claude-3-5-haiku-latest", "claude-opus-4-6"],
        Format::Gemini => &["gemini-2.0-flash", "gemini-2.5-flash", "gemini-3-pro-preview"],
        Format::Bedrock => &[
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "us.amazon.nova-lite-v1:0",
            "openai.gpt-oss-120b-1:0",
        ],
        Format::Cohere => &["command-a-reasoning-08-2025"],
        Format::Replicate => &["openai/gpt-5"],
    }
}

/// Recorded requests and our own, with the format of their caller.
fn asked(provider: Format) -> Vec<(String, Format, Request)> {
    let own = Feature::all().map(|feature| {
        let request = features::asking(feature, provider, "m");
        (format!("own/{feature:?}"), Format::OpenAiChat, request)
    });
    own.chain(cases::requests()).collect()
}

/// Holds every request for a provider to its description.
fn hold(provider: Format, check: &dyn Fn(&Value) -> Vec<String>) {
    let (mut held, mut wrong) = (0, BTreeMap::<String, Vec<String>>::new());
    for (id, caller, mut request) in asked(provider) {
        // A limit that no provider takes is the caller's own (recorded of Ollama).
        if request.max_tokens == Some(0) {
            continue;
        }
        for model in models(provider) {
            (*model).clone_into(&mut request.model);
            let Ok(encoded) = encode_request(provider, caller, &request, &PLAIN) else { continue };
            let body = serde_json::from_slice(&encoded.body).unwrap();
            held += 1;
            for what in check(&body) {
                wrong.entry(what).or_default().push(format!("{id} to {model}"));
            }
        }
    }
    eprintln!("{held} requests to {}", provider.name());
    let told =
        wrong.iter().map(|(what, whose)| format!("{what}\n    {} x {}", whose.len(), whose[0]));
    assert!(wrong.is_empty(), "{}", told.collect::<Vec<_>>().join("\n"));
}

#[test]
fn chat_completions() {
    let Some(spec) = spec("openai/openapi.json.gz").map(OpenApi) else { return skipped() };
    hold(Format::OpenAiChat, &|body| spec.check("CreateChatCompletionRequest", body));
}

#[test]
fn responses() {
    let Some(spec) = spec("openai/openapi.json.gz").map(OpenApi) else { return skipped() };
    hold(Format::OpenAiResponses, &|body| {
        let mut body = body.clone();
        for item in body["input"].as_array_mut().into_iter().flatten() {
            // Encrypted thoughts are taken without their id where nothing is stored (recorded).
            if item["type"] == "reasoning" && item["id"].is_null() {
                item["id"] = "rs_1".into();
            }
        }
        spec.check("CreateResponse", &body)
    });
}

#[test]
fn messages() {
    let Some(spec) = spec("anthropic/openapi.json.gz").map(OpenApi) else { return skipped() };
    // Files and some tools are in the beta alone.
    hold(Format::Anthropic, &|body| {
        let wrong = spec.check("CreateMessageParams", body);
        let beta = spec.check("BetaCreateMessageParams", body);
        if beta.is_empty() { beta } else { wrong }
    });
}

#[test]
fn generate_content() {
    let Some(spec) = spec("google/generativelanguage-discovery.json").map(Discovery) else {
        return skipped();
    };
    hold(Format::Gemini, &|body| spec.check("GenerateContentRequest", body));
}

#[test]
fn converse() {
    let Some(spec) = spec("aws/bedrock-runtime-service-2.json").map(Service) else {
        return skipped();
    };
    hold(Format::Bedrock, &|body| spec.check("ConverseRequest", body));
}

fn skipped() {
    eprintln!("skipped: KEYMUX_SHARED does not say where the descriptions of the APIs are");
}
