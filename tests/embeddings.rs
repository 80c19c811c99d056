//! OpenAI's callers for embeddings, on providers that make them in a form of their own: the program, and
//! providers that answer as the real ones were recorded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::config::{config, secret};
use common::google::service_account;
use common::http::{Reply, post};
use common::keymux::Keymux;
use common::upstream::{Step, Upstream, answer, json_answer};
use serde_json::{Value, json};

/// A provider with one key.
fn provider(kind: &str, upstream: &Upstream) -> String {
    let key = match kind {
        "vertex" => {
            let (account, _) = service_account(&upstream.url());
            format!(
                "vertex_key_config = {{ region = \"global\", auth_credentials = '''{account}''' }}"
            )
        }
        "bedrock" => {
            format!(
                "value = \"{}\"\nbedrock_key_config = {{ region = \"us-east-1\" }}",
                secret(kind)
            )
        }
        _ => format!("value = \"{}\"", secret(kind)),
    };
    format!(
        "[providers.{kind}]\nbase_url = \"{}\"\n[[providers.{kind}.keys]]\nname = \"k\"\n{key}\n",
        upstream.url()
    )
}

async fn keymux(kind: &str, upstream: &Upstream) -> Keymux {
    Keymux::start(&config("", &[provider(kind, upstream)]), &[]).await
}

async fn ask(keymux: &Keymux, body: &Value) -> Reply {
    post(keymux.address(), "/v1/embeddings", &[], body).await
}

/// A token where one is asked for, else this.
async fn upstream(steps: impl Fn(&Value) -> Vec<Step> + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |request| match request.path() {
        "/token" => json_answer(200, &json!({"access_token": "t", "expires_in": 3600})),
        _ => steps(&request.json()),
    })
    .await
}

/// What the provider was asked, but for tokens.
fn asked(upstream: &Upstream) -> Vec<(String, Value)> {
    let requests = upstream.requests().into_iter().filter(|request| request.path() != "/token");
    requests.map(|request| (request.path().to_owned(), request.json())).collect()
}

type Headers = Vec<(String, String)>;

/// A recorded answer: its body, and its headers.
fn recorded(id: &str) -> Option<(Vec<u8>, Headers)> {
    let Some(shared) = std::env::var_os("KEYMUX_SHARED") else {
        eprintln!("skipped: KEYMUX_SHARED does not say where the recorded exchanges are");
        return None;
    };
    let path = PathBuf::from(shared).join("fixtures").join(format!("{id}.json"));
    let exchange: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let response = &exchange["response"];
    let headers = response["headers"].as_object().unwrap().iter();
    let headers = headers
        .filter(|(name, _)| *name == "content-type" || name.starts_with("x-amzn-bedrock"))
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
    Some((response["body"].as_str().unwrap().as_bytes().to_vec(), headers.collect()))
}

/// A recording, and what an OpenAI caller must see of it.
struct Case {
    kind: &'static str,
    id: &'static str,
    model: &'static str,
    path: &'static str,
    /// Where the recorded answer has the vector.
    vector: &'static str,
    tokens: u64,
}

const CASES: [Case; 6] = [
    Case {
        kind: "gemini",
        id: "google/gemini.batchEmbedContents/unary-vision-gemini-embedding-2-4268cb",
        model: "gemini-embedding-2",
        path: "/v1beta/models/gemini-embedding-2:batchEmbedContents",
        vector: "/embeddings/0/values",
        tokens: 261,
    },
    Case {
        kind: "vertex",
        id: "vertex/vertex.predict/unary-text-gemini-embedding-001-4c3298",
        model: "gemini-embedding-001",
        path: "/v1beta1/projects/a-project/locations/global/publishers/google/models/gemini-embedding-001:predict",
        vector: "/predictions/0/embeddings/values",
        tokens: 4,
    },
    Case {
        kind: "vertex",
        id: "vertex/vertex.predict/unary-text-text-embedding-004-16db28",
        model: "text-embedding-004",
        path: "/v1beta1/projects/a-project/locations/global/publishers/google/models/text-embedding-004:predict",
        vector: "/predictions/0/embeddings/values",
        tokens: 10,
    },
    Case {
        kind: "vertex",
        id: "vertex/gemini.embedContent/unary-text-gemini-embedding-2-c44e96",
        model: "gemini-embedding-2",
        path: "/v1beta1/projects/a-project/locations/global/publishers/google/models/gemini-embedding-2:embedContent",
        vector: "/embedding/values",
        tokens: 11,
    },
    Case {
        kind: "cohere",
        id: "cohere/cohere.embed/unary-text-embed-v4-0-c39265",
        model: "embed-v4.0",
        path: "/v2/embed",
        vector: "/embeddings/float/0",
        tokens: 7,
    },
    Case {
        kind: "bedrock",
        id: "bedrock/bedrock.invoke_model/unary-text-amazon-nova-2-multimodal-emb-e09f67",
        model: "amazon.nova-2-multimodal-embeddings-v1:0",
        path: "/model/amazon.nova-2-multimodal-embeddings-v1%3A0/invoke",
        vector: "/embeddings/0/embedding",
        tokens: 18,
    },
];

#[tokio::test]
async fn recorded_vectors_come_back_as_numbers_and_in_base64() {
    for case in CASES {
        let Some((body, headers)) = recorded(case.id) else { return };
        let told: Value = serde_json::from_slice(&body).unwrap();
        let expected = told.pointer(case.vector).unwrap();
        let provider = upstream(move |_| {
            let headers: Vec<_> = headers.iter().map(|(n, v)| (&**n, &**v)).collect();
            answer(200, &headers, &body)
        })
        .await;
        let keymux = keymux(case.kind, &provider).await;
        let model = format!("{}/{}", case.kind, case.model);
        let request = json!({"model": model, "input": ["text"], "dimensions": 256});
        let reply = ask(&keymux, &request).await;
        assert_eq!(reply.status(), 200, "{}: {}", case.id, reply.text());
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let plain = reply.json();
        assert_eq!(plain["object"], "list");
        assert_eq!(plain["model"], Value::String(model));
        assert_eq!(plain["data"].as_array().unwrap().len(), 1);
        assert_eq!(plain["data"][0]["index"], 0);
        assert_eq!(&plain["data"][0]["embedding"], expected, "{}", case.id);
        let usage = json!({"prompt_tokens": case.tokens, "total_tokens": case.tokens});
        assert_eq!(plain["usage"], usage, "{}", case.id);

        let mut packed = request;
        packed["encoding_format"] = "base64".into();
        let packed = ask(&keymux, &packed).await.json();
        let bytes = BASE64_STANDARD.decode(packed["data"][0]["embedding"].as_str().unwrap());
        let numbers: Vec<f32> = serde_json::from_value(expected.clone()).unwrap();
        assert_eq!(
            bytes.unwrap(),
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>()
        );
        let requests = asked(&provider);
        assert_eq!(requests[0].0, case.path, "{}", case.id);
        assert_eq!(requests[0], requests[1]);
        assert!(requests[0].1.to_string().contains("256"), "{}", requests[0].1);
    }
}

/// Titan's answer, with the number in the text for its vector.
fn titan(request: &Value) -> Vec<Step> {
    let number: u32 = request["inputText"].as_str().unwrap().parse().unwrap();
    json_answer(200, &json!({"embedding": [number], "inputTextTokenCount": 2}))
}

#[tokio::test]
async fn a_batch_goes_in_as_many_requests_as_it_takes_and_comes_back_as_one() {
    let provider = upstream(titan).await;
    let keymux = keymux("bedrock", &provider).await;
    let texts: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let model = "bedrock/amazon.titan-embed-text-v2:0";
    let reply = ask(&keymux, &json!({"model": model, "input": texts, "user": "u"})).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(reply.header("x-keymux-dropped"), Some("user"));
    assert_eq!(reply.header("x-keymux-attempts"), Some("1"));
    let answer = reply.json();
    let data = answer["data"].as_array().unwrap();
    assert_eq!(data.len(), 20);
    for (n, one) in data.iter().enumerate() {
        assert_eq!(*one, json!({"object": "embedding", "index": n, "embedding": [n]}));
    }
    assert_eq!(answer["usage"], json!({"prompt_tokens": 40, "total_tokens": 40}));
    assert_eq!(asked(&provider).len(), 20);
}

#[tokio::test]
async fn one_failure_of_a_batch_is_the_answer() {
    let provider = upstream(|request| match request["inputText"].as_str() {
        Some("7") => json_answer(400, &json!({"message": "Too many input tokens."})),
        _ => titan(request),
    })
    .await;
    let keymux = keymux("bedrock", &provider).await;
    let texts: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let model = "bedrock/amazon.titan-embed-text-v2:0";
    let reply = ask(&keymux, &json!({"model": model, "input": texts})).await;
    assert_eq!(reply.status(), 400);
    let error = &reply.json()["error"];
    assert_eq!(error["message"], "Too many input tokens.");
    assert_eq!(error["type"], "invalid_request_error");
    assert!(asked(&provider).len() < 100);
}

#[tokio::test]
async fn an_answer_without_its_vectors_is_a_failure() {
    let provider = upstream(|_| json_answer(200, &json!({"embeddings": []}))).await;
    let keymux = keymux("gemini", &provider).await;
    let reply = ask(&keymux, &json!({"model": "gemini/gemini-embedding-001", "input": "a"})).await;
    assert_eq!(reply.status(), 502, "{}", reply.text());
}

#[tokio::test]
async fn cohere_is_asked_at_its_compatible_endpoint_wherever_that_can_carry_it() {
    let provider = upstream(|request| {
        let texts = request["input"].as_array().map_or(1, Vec::len);
        let data: Vec<_> = (0..texts).map(|n| json!({"index": n, "embedding": [n]})).collect();
        json_answer(200, &json!({"object": "list", "data": data, "usage": {"prompt_tokens": 3}}))
    })
    .await;
    let keymux = keymux("cohere", &provider).await;
    let reply = ask(&keymux, &json!({"model": "cohere/embed-v4.0", "input": ["a", "b"]})).await;
    // Its own bytes.
    assert_eq!(reply.json()["usage"], json!({"prompt_tokens": 3}));
    let texts = vec!["a"; 100];
    let reply = ask(&keymux, &json!({"model": "cohere/embed-v4.0", "input": texts})).await;
    assert_eq!(reply.json()["data"].as_array().unwrap().len(), 100);
    assert_eq!(reply.json()["usage"], json!({"prompt_tokens": 6, "total_tokens": 6}));
    let requests = asked(&provider);
    assert_eq!(requests.len(), 3);
    for (path, body) in &requests {
        assert_eq!(
            (&**path, &body["model"]),
            ("/compatibility/v1/embeddings", &json!("embed-v4.0"))
        );
    }
}

#[tokio::test]
async fn what_a_provider_cannot_be_asked_is_refused_before_it_is() {
    let provider = upstream(|_| json_answer(200, &json!({}))).await;
    let keymux = keymux("bedrock", &provider).await;
    let model = "bedrock/cohere.embed-v4:0";
    let reply = ask(&keymux, &json!({"model": model, "input": [[1, 2], [3]]})).await;
    assert_eq!(reply.status(), 400);
    assert_eq!(reply.json()["error"]["param"], "/input/0");
    let model = "bedrock/amazon.nova-lite-v1:0";
    let reply = ask(&keymux, &json!({"model": model, "input": "a"})).await;
    assert_eq!(reply.status(), 404);
    let message = reply.json()["error"]["message"].to_string();
    assert!(message.contains("has no known embeddings"), "{message}");
    let body = json!({"model": model, "prompt": "a"});
    let reply = post(keymux.address(), "/v1/completions", &[], &body).await;
    assert_eq!(reply.status(), 404);
    let message = reply.json()["error"]["message"].to_string();
    assert!(message.contains("/v1/chat/completions"), "{message}");
    assert_eq!(asked(&provider), []);
}
