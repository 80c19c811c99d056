//! Runs the files under `examples/` with replaced hosts, and checks the requests that their providers receive.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::fs;
use std::path::Path;

use common::config::config;
use common::google::service_account;
use common::http;
use common::keymux::Keymux;
use common::upstream::{Received, Upstream, json_answer};
use serde_json::{Value, json};

/// Starts a provider that also issues tokens.
async fn cloud() -> Upstream {
    Upstream::start(|received| match received.path() {
        path if path.contains("token") => json_answer(
            200,
            &json!({"access_token": "a-token-of-the-test", "token_type": "Bearer", "expires_in": 3600}),
        ),
        _ => json_answer(200, &json!({})),
    })
    .await
}

/// Returns an example with replaced texts and an appended text.
fn example(name: &str, changes: &[(&str, &str)], more: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let mut text = fs::read_to_string(path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no {from}");
        text = text.replace(from, to);
    }
    config("", &[text, more.to_owned()])
}

async fn ask(keymux: &Keymux, path: &str, body: &Value) {
    let reply = http::post(keymux.address(), path, &[], body).await;
    assert_eq!(reply.status(), 200, "{path}: {}", reply.text());
}

/// Returns the requests to the provider, without those to the token issuer.
fn asked(cloud: &Upstream) -> Vec<Received> {
    let mut asked = cloud.requests();
    asked.retain(|received| !received.path().contains("token"));
    asked
}

#[tokio::test]
async fn azure_uses_a_key_for_one_resource_and_a_token_for_the_other() {
    let cloud = cloud().await;
    let url = cloud.url();
    let authority = format!("authority_host = \"{url}\"\nclient_secret");
    let changes = [
        ("https://my-eastus.openai.azure.com", format!("{url}/east")),
        ("https://my-westeurope.openai.azure.com", format!("{url}/west")),
        ("client_secret", authority),
    ];
    let changes = changes.each_ref().map(|(from, to)| (*from, &**to));
    let env = [("AZURE_OPENAI_KEY", "azure-key"), ("AZURE_CLIENT_SECRET", "azure-secret")];
    let keymux = Keymux::start(&example("azure.toml", &changes, ""), &env).await;
    for _ in 0..4 {
        ask(&keymux, "/v1/chat/completions", &json!({"model": "azure/gpt-4o"})).await;
    }
    let asked = asked(&cloud);
    let (east, west): (Vec<_>, Vec<_>) = asked.iter().partition(|r| r.path().starts_with("/east"));
    assert_eq!((east.len(), west.len()), (2, 2));
    assert_eq!(east[0].path(), "/east/openai/v1/chat/completions");
    assert_eq!(east[0].header("api-key"), Some("azure-key"));
    assert_eq!(east[0].json()["model"], "prod-gpt4o");
    let path = "/west/openai/deployments/gpt-4o-eu/chat/completions?api-version=2024-10-21";
    assert_eq!(west[0].path(), path);
    assert_eq!(west[0].header("authorization"), Some("Bearer a-token-of-the-test"));
}

#[tokio::test]
async fn vertex_serves_gemini_and_claude_with_default_credentials() {
    let cloud = cloud().await;
    let base = format!("[providers.vertex]\nbase_url = \"{}\"\n", cloud.url());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("account.json");
    fs::write(&file, service_account(&cloud.url()).0.to_string()).unwrap();
    let env = [("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())];
    let keymux = Keymux::start(&example("vertex.toml", &[], &base), &env).await;
    let gemini = "/v1beta/models/vertex%2Fgemini-2.5-flash:generateContent";
    for _ in 0..4 {
        ask(&keymux, gemini, &json!({"contents": []})).await;
    }
    let body = json!({"model": "claude", "max_tokens": 1, "messages": [], "stream": true});
    ask(&keymux, "/v1/messages", &body).await;
    let asked = asked(&cloud);
    assert!(asked.iter().all(|r| r.header("authorization") == Some("Bearer a-token-of-the-test")));
    let of = |region: &str| {
        let place = format!(
            "/v1beta1/projects/my-project/locations/{region}/publishers/google/models/gemini-2.5-flash:generateContent"
        );
        asked.iter().filter(|received| received.path() == place).count()
    };
    assert_eq!((of("global"), of("europe-west4")), (3, 1));
    let claude = asked.last().unwrap();
    assert!(
        claude.path().ends_with("/publishers/anthropic/models/claude-sonnet-4-5:streamRawPredict")
    );
    let body = claude.json();
    assert_eq!(
        (&body["anthropic_version"], &body["model"]),
        (&json!("vertex-2023-10-16"), &Value::Null)
    );
}

#[tokio::test]
async fn bedrock_uses_an_api_key_or_signatures_of_the_region() {
    let cloud = cloud().await;
    let base = format!("[providers.bedrock]\nbase_url = \"{}\"\n", cloud.url());
    let env = [
        ("AWS_BEARER_TOKEN", "bedrock-key"),
        ("EU_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("EU_SECRET_ACCESS_KEY", "eu-secret"),
    ];
    let keymux = Keymux::start(&example("bedrock.toml", &[], &base), &env).await;
    let body = json!({"messages": []});
    for _ in 0..2 {
        ask(&keymux, "/model/bedrock%2Fclaude/converse", &body).await;
    }
    ask(&keymux, "/model/bedrock%2Feu-central-1%2Fclaude/converse", &body).await;
    let asked = asked(&cloud);
    let auth = |received: &Received| received.header("authorization").unwrap().to_owned();
    let by_key = asked.iter().filter(|received| auth(received) == "Bearer bedrock-key").count();
    let signed = |region: &str| {
        let scope = format!("/{region}/bedrock/aws4_request");
        let is = |auth: &String| auth.contains("Credential=AKIDEXAMPLE/") && auth.contains(&scope);
        asked.iter().map(auth).filter(is).count()
    };
    assert_eq!((by_key, signed("eu-west-1"), signed("eu-central-1")), (1, 1, 1));
    let profile = "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse";
    assert_eq!(asked.last().unwrap().path(), profile);
}

#[tokio::test]
async fn anthropic_and_gemini_are_called_in_their_own_apis() {
    let cloud = cloud().await;
    let base = ["anthropic", "gemini"]
        .map(|name| format!("[providers.{name}]\nbase_url = \"{}\"\n", cloud.url()))
        .concat();
    let env = [("ANTHROPIC_API_KEY", "anthropic-key"), ("GEMINI_API_KEY", "gemini-key")];
    let keymux = Keymux::start(&example("native.toml", &[], &base), &env).await;
    ask(&keymux, "/v1/messages", &json!({"model": "claude-x", "max_tokens": 1})).await;
    ask(&keymux, "/v1beta/models/gemini-2.5-pro:countTokens", &json!({"contents": []})).await;
    let asked = asked(&cloud);
    assert_eq!(asked[0].header("x-api-key"), Some("anthropic-key"));
    assert_eq!(asked[1].header("x-goog-api-key"), Some("gemini-key"));
    assert_eq!(asked[1].path(), "/v1beta/models/gemini-2.5-pro:countTokens");
}
