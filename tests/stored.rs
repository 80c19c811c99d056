//! Stored objects: an id leads back to the key that created the object, and no other client
//! can reach it.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use common::config::{client, config, key, provider, secret};
use common::http::{self, Reply};
use common::keymux::Keymux;
use common::upstream::{Received, Step, Upstream, json_answer, sse};
use serde_json::{Value, json};
use std::time::Duration;

/// The `host` that the raw client sends.
const OWN: &str = "http://localhost";

/// A provider that names each object after its number and the key that created it.
async fn keeper() -> Upstream {
    Upstream::start(|received| {
        let key = if received.header("authorization").unwrap_or_default().contains("-a-") { "a" } else { "b" };
        let path = received.path().to_owned();
        match (received.method(), &*path) {
            ("POST", "/v1/responses") => json_answer(200, &json!({"id": format!("resp_{key}"), "object": "response",
                "previous_response_id": null, "output": [{"id": "msg_1", "type": "message"}]})),
            ("POST", "/v1/files") => json_answer(200, &json!({"id": format!("file-{key}"), "object": "file"})),
            ("POST", "/v1/batches") => json_answer(200, &json!({"id": format!("batch_{key}"),
                "input_file_id": received.json()["input_file_id"], "output_file_id": null})),
            ("GET", "/v1/batches/batch_a") => json_answer(200, &json!({"id": "batch_a", "status": "completed",
                "input_file_id": "file-a", "output_file_id": "file-out", "request_counts": {"total": 1}})),
            ("GET", _) if path.ends_with("/content") => json_answer(200, &json!({"id": "resp-in-a-file"})),
            _ => json_answer(200, &json!({"id": path.rsplit('/').next(), "path": path})),
        }
    })
    .await
}

fn two_keys(upstream: &Upstream, settings: &str) -> String {
    let keys = ["a", "b"].map(|name| key(name, settings));
    config("", &[client("me", ""), client("you", ""), provider("main", upstream, "", &keys)])
}

async fn ask(keymux: &Keymux, method: &str, path: &str, who: &str, body: &[u8]) -> Reply {
    let auth = format!("Bearer client-{who}");
    let headers = [("authorization", &*auth), ("content-type", "application/json")];
    http::exchange(keymux.address(), &http::request(method, path, &headers, body)).await
}

fn used(received: &Received) -> &'static str {
    let auth = received.header("authorization").unwrap().to_owned();
    if auth == format!("Bearer {}", secret("a")) { "a" } else { "b" }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn a_response_continues_with_the_key_that_stored_it() {
    let upstream = keeper().await;
    let keymux = Keymux::start(&two_keys(&upstream, ""), &[]).await;
    for number in 0..8 {
        let made = ask(&keymux, "POST", "/v1/responses", "me", b"{\"model\":\"m\"}").await;
        let id = text(&made.json()["id"]).to_owned();
        assert!(id.starts_with("resp_") && id.len() > 20, "{id}");
        assert_eq!(made.json()["output"][0]["id"], "msg_1");
        let key = used(&upstream.request(2 * number).await);
        let body = json!({"model": "m", "previous_response_id": id}).to_string();
        let next = ask(&keymux, "POST", "/v1/responses", "me", body.as_bytes()).await;
        assert_eq!(next.status(), 200, "{}", next.text());
        let received = upstream.request(2 * number + 1).await;
        assert_eq!(used(&received), key);
        assert_eq!(received.json()["previous_response_id"], format!("resp_{key}"));
    }
}

#[tokio::test]
async fn a_stored_response_survives_a_restart_and_belongs_to_one_client() {
    let upstream = keeper().await;
    let keymux = Keymux::start(&two_keys(&upstream, ""), &[]).await;
    let made = ask(&keymux, "POST", "/v1/responses", "me", b"{\"model\":\"m\"}").await;
    let id = text(&made.json()["id"]).to_owned();
    let key = used(&upstream.request(0).await);
    drop(keymux);

    let keymux = Keymux::start(&two_keys(&upstream, ""), &[]).await;
    let path = format!("/v1/responses/{id}");
    let read = ask(&keymux, "GET", &path, "me", b"").await;
    assert_eq!((read.status(), text(&read.json()["id"])), (200, &*id));
    let received = upstream.request(1).await;
    assert_eq!((received.path(), used(&received)), (&*format!("/v1/responses/resp_{key}"), key));
    for (method, path) in [("GET", &*path), ("DELETE", &path), ("POST", &format!("{path}/cancel"))]
    {
        let foreign = ask(&keymux, method, path, "you", b"").await;
        assert_eq!(
            (foreign.status(), &foreign.json()["error"]["code"]),
            (404, &json!("not_found"))
        );
    }
    let body = json!({"model": "m", "previous_response_id": id}).to_string();
    assert_eq!(ask(&keymux, "POST", "/v1/responses", "you", body.as_bytes()).await.status(), 404);
    for other in [id.replace("resp_", "resp_x"), "resp_a".to_owned(), format!("{id}x")] {
        assert_eq!(
            ask(&keymux, "GET", &format!("/v1/responses/{other}"), "me", b"").await.status(),
            404
        );
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn ids_in_a_stream_are_signed_in_every_event() {
    let event = |kind: &str| {
        let data = json!({"type": kind, "response": {"id": "resp_1", "usage": null}});
        format!("event: {kind}\ndata: {data}\n\n")
    };
    let events = [event("response.created"), "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"\\\"id\\\":\\\"resp_1\\\"\"}\n\n".to_owned(), event("response.completed")];
    // The chunks also split an id.
    let mut steps = sse(&events, Duration::ZERO);
    if let Some(Step::Send(first)) = steps.get_mut(1) {
        assert!(String::from_utf8_lossy(first).contains("resp_1"));
    }
    steps.retain(|step| matches!(step, Step::Send(_)));
    let upstream = Upstream::always(steps).await;
    let keymux = Keymux::start(&two_keys(&upstream, ""), &[]).await;
    let reply =
        ask(&keymux, "POST", "/v1/responses", "me", b"{\"model\":\"m\",\"stream\":true}").await;
    let text = reply.text();
    assert_eq!(text.matches("\"id\":\"resp_1.kmx_").count(), 2, "{text}");
    assert_eq!(text.matches("\\\"id\\\":\\\"resp_1\\\"").count(), 1, "{text}");
}

#[tokio::test]
async fn with_one_key_and_one_client_a_response_is_forwarded_unchanged() {
    let upstream = keeper().await;
    let text = config("", &[client("me", ""), provider("main", &upstream, "", &[key("a", "")])]);
    let keymux = Keymux::start(&text, &[]).await;
    let made = ask(&keymux, "POST", "/v1/responses", "me", b"{\"model\":\"m\"}").await;
    assert_eq!(made.json()["id"], "resp_a");
    let read = ask(&keymux, "GET", "/v1/responses/resp_a", "me", b"").await;
    assert_eq!((read.status(), upstream.request(1).await.path()), (200, "/v1/responses/resp_a"));
}

#[tokio::test]
async fn an_unsigned_id_is_looked_up_at_providers_with_unsigned_ids() {
    let knows = |id: &'static str| async move {
        Upstream::start(move |received| {
            if received.path() == format!("/v1/responses/{id}") {
                json_answer(200, &json!({"id": id}))
            } else {
                json_answer(404, &json!({"error": {"message": "not here"}}))
            }
        })
        .await
    };
    let (one, two) = (knows("resp_1").await, knows("resp_2").await);
    let providers =
        [("one", &one), ("two", &two)].map(|(name, at)| provider(name, at, "", &[key(name, "")]));
    let text = config("", &[client("me", ""), providers.concat()]);
    let keymux = Keymux::start(&text, &[]).await;
    for (id, who) in [("resp_1", "one"), ("resp_2", "two")] {
        let read = ask(&keymux, "GET", &format!("/v1/responses/{id}"), "me", b"").await;
        assert_eq!((read.status(), read.header("x-keymux-provider")), (200, Some(who)));
    }
    assert_eq!(ask(&keymux, "GET", "/v1/responses/resp_3", "me", b"").await.status(), 404);
}

fn form(content: &str) -> Vec<u8> {
    format!(
        "--x\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--x\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"b.jsonl\"\r\n\r\n{content}\r\n--x--\r\n"
    )
    .into_bytes()
}

async fn upload(keymux: &Keymux, who: &str, content: &str) -> Reply {
    let auth = format!("Bearer client-{who}");
    let headers = [("authorization", &*auth), ("content-type", "multipart/form-data; boundary=x")];
    http::exchange(keymux.address(), &http::request("POST", "/v1/files", &headers, &form(content)))
        .await
}

#[tokio::test]
async fn a_batch_from_its_file_to_its_results_stays_with_one_key() {
    let upstream = keeper().await;
    // Only `a` has `use_for_batch_api`.
    let keys = [key("a", "use_for_batch_api = true"), key("b", "weight = 9")];
    let text =
        config("", &[client("me", ""), client("you", ""), provider("main", &upstream, "", &keys)]);
    let keymux = Keymux::start(&text, &[]).await;
    let lines = "{\"custom_id\":\"1\",\"body\":{\"model\":\"main/gpt\", \"n\":1}}\n{\"body\":{\"model\":\"main/gpt\"}}";
    let file = upload(&keymux, "me", lines).await;
    assert_eq!(file.status(), 200, "{}", file.text());
    let received = upstream.request(0).await;
    assert_eq!(used(&received), "a");
    assert_eq!(received.body, form(&lines.replace("main/", "")));

    let body =
        json!({"input_file_id": file.json()["id"], "endpoint": "/v1/chat/completions"}).to_string();
    let batch = ask(&keymux, "POST", "/v1/batches", "me", body.as_bytes()).await;
    assert_eq!(upstream.request(1).await.json()["input_file_id"], "file-a");
    assert_eq!(batch.json()["input_file_id"], file.json()["id"]);
    let id = text_of(&batch, "id");
    let done = ask(&keymux, "GET", &format!("/v1/batches/{id}"), "me", b"").await;
    assert_eq!(text_of(&done, "id"), id);
    let output = text_of(&done, "output_file_id");
    let content = ask(&keymux, "GET", &format!("/v1/files/{output}/content"), "me", b"").await;
    assert_eq!(upstream.request(3).await.path(), "/v1/files/file-out/content");
    assert_eq!(content.json()["id"], "resp-in-a-file");
    ask(&keymux, "POST", &format!("/v1/batches/{id}/cancel"), "me", b"").await;
    assert_eq!(upstream.request(4).await.path(), "/v1/batches/batch_a/cancel");
    ask(&keymux, "DELETE", &format!("/v1/files/{output}"), "me", b"").await;
    assert_eq!(upstream.request(5).await.method(), "DELETE");
    assert!(upstream.requests().iter().all(|received| used(received) == "a"));

    assert_eq!(ask(&keymux, "POST", "/v1/batches", "you", body.as_bytes()).await.status(), 404);
    assert_eq!(ask(&keymux, "GET", &format!("/v1/files/{output}"), "you", b"").await.status(), 404);
    let list = ask(&keymux, "GET", "/v1/files", "me", b"").await;
    assert_eq!(list.status(), 403, "{}", list.text());
    assert_eq!(upstream.requests().len(), 6);
}

fn text_of(reply: &Reply, name: &str) -> String {
    text(&reply.json()[name]).to_owned()
}

#[tokio::test]
async fn a_batch_that_cannot_be_routed_names_the_faulty_request() {
    let upstream = keeper().await;
    let keymux =
        Keymux::start(&two_keys(&upstream, "use_for_batch_api = true\nmodels = [\"gpt*\"]"), &[])
            .await;
    for (lines, why) in [
        (
            "{\"body\":{\"model\":\"gpt-1\"}}\n{\"body\":{}}",
            "Request 2: Its `body` names no `model`.",
        ),
        ("{\"body\":{\"model\":\"nobody/x\"}}", "Request 1: `nobody/x` is not a route"),
        ("", "Request 1: There are no requests in the batch."),
    ] {
        let reply = upload(&keymux, "me", lines).await;
        let message = reply.json()["error"]["message"].to_string();
        assert!(reply.status() == 400 && message.contains(why), "{message}");
    }
    let reply = upload(&keymux, "me", "{\"body\":{\"model\":\"main/other\"}}").await;
    assert_eq!(reply.status(), 404, "{}", reply.text());
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn a_client_with_its_own_key_can_list_objects() {
    let upstream = Upstream::always(json_answer(
        200,
        &json!({"data": [{"id": "file-1"}], "first_id": "file-1"}),
    ))
    .await;
    let own = key("a", "use_for_batch_api = true\nclients = [\"me\"]");
    let text =
        config("", &[client("me", ""), client("you", ""), provider("main", &upstream, "", &[own])]);
    let keymux = Keymux::start(&text, &[]).await;
    let list = ask(&keymux, "GET", "/v1/files?limit=1", "me", b"").await;
    let id = list.json()["data"][0]["id"].clone();
    assert!(
        text_of(&list, "first_id") == text_str(&id) && text_str(&id).starts_with("file-1.kmx_")
    );
    assert_eq!(upstream.request(0).await.path(), "/v1/files?limit=1");
    assert_eq!(ask(&keymux, "GET", "/v1/files", "you", b"").await.status(), 404);
}

fn text_str(value: &Value) -> &str {
    text(value)
}

fn native(kind: &str, upstream: &Upstream) -> String {
    config(
        "",
        &[
            client("me", ""),
            format!("[providers.{kind}]\nbase_url = \"{}\"\n", upstream.url()),
            format!("[[providers.{kind}.keys]]\n{}", key("a", "use_for_batch_api = true")),
        ],
    )
}

#[tokio::test]
async fn anthropic_results_urls_lead_through_the_gateway() {
    let upstream = Upstream::always(json_answer(
        200,
        &json!({"id": "msgbatch_1", "type": "message_batch",
        "results_url": "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results"}),
    ))
    .await;
    let keymux = Keymux::start(&native("anthropic", &upstream), &[]).await;
    let body =
        br#"{"requests":[{"custom_id":"1","params":{"model":"anthropic/claude","max_tokens":1}}]}"#;
    let made = ask(&keymux, "POST", "/v1/messages/batches", "me", body).await;
    let received = upstream.request(0).await;
    assert_eq!(received.json()["requests"][0]["params"]["model"], "claude");
    assert_eq!(received.header("x-api-key"), Some(&*secret("a")));
    let (id, url) = (text_of(&made, "id"), text_of(&made, "results_url"));
    assert_eq!(url, format!("http://localhost/v1/messages/batches/{id}/results"));
    ask(&keymux, "GET", &url[OWN.len()..], "me", b"").await;
    assert_eq!(upstream.request(1).await.path(), "/v1/messages/batches/msgbatch_1/results");
}

#[tokio::test]
async fn prediction_urls_lead_through_the_gateway() {
    let upstream = Upstream::start(|received| {
        let own = format!("http://{}", received.header("host").unwrap());
        json_answer(
            201,
            &json!({"id": "p1", "urls": {
                "get": format!("{own}/v1/predictions/p1"),
                "cancel": format!("{own}/v1/predictions/p1/cancel"),
                "stream": format!("{own}/stream/v1/files/abc"),
            }}),
        )
    })
    .await;
    let keymux = Keymux::start(&native("replicate", &upstream), &[]).await;
    let path = "/v1/models/meta/llama/predictions";
    let made = ask(&keymux, "POST", path, "me", b"{\"stream\":true,\"input\":{}}").await;
    assert_eq!((made.status(), upstream.request(0).await.path()), (201, path));
    let urls = &made.json()["urls"];
    for (number, (name, path)) in
        [("get", "/v1/predictions/p1"), ("stream", "/stream/v1/files/abc")].into_iter().enumerate()
    {
        let url = text(&urls[name]);
        assert!(url.starts_with(OWN), "{url}");
        let reply = ask(&keymux, "GET", &url[OWN.len()..], "me", b"").await;
        assert_eq!(reply.status(), 201, "{}", reply.text());
        assert_eq!(upstream.request(1 + number).await.path(), path);
    }
    assert_eq!(
        (&made.json()["id"], text(&urls["get"])),
        (&json!("p1"), "http://localhost/v1/predictions/p1")
    );
    let forged = text(&urls["stream"]).split(".kmx_").next().unwrap()[OWN.len()..].to_owned();
    assert_eq!(ask(&keymux, "GET", &format!("{forged}/stream"), "me", b"").await.status(), 404);
    let cancel = text(&urls["cancel"]);
    ask(&keymux, "POST", &cancel[OWN.len()..], "me", b"").await;
    assert_eq!(upstream.request(3).await.path(), "/v1/predictions/p1/cancel");
}

#[tokio::test]
async fn a_bedrock_job_stays_in_the_buckets_of_its_key() {
    let arn = "arn:aws:bedrock:us-east-1:1:model-invocation-job/j1";
    let upstream = Upstream::always(json_answer(200, &json!({"jobArn": arn}))).await;
    let batch = "use_for_batch_api = true\nbedrock_key_config = { region = \"us-east-1\", \
                 deployments = { claude = \"anthropic.claude-v1:0\" }, batch_s3_config = { \
                 buckets = [{ bucket_name = \"other\" }, { bucket_name = \"batches\", prefix = \"out\", is_default = true }] } }";
    let provider = format!("[providers.bedrock]\nbase_url = \"{}\"\n", upstream.url());
    let keys = format!("[[providers.bedrock.keys]]\n{}", key("a", batch));
    let text = config("", &[client("me", ""), client("you", ""), provider, keys]);
    let keymux = Keymux::start(&text, &[]).await;
    let job = |input: &str| {
        json!({"jobName": "j", "modelId": "claude", "roleArn": "arn:aws:iam::1:role/r",
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": input}}})
        .to_string()
    };
    let path = "/model-invocation-job";
    let made = ask(&keymux, "POST", path, "me", job("s3://batches/in.jsonl").as_bytes()).await;
    assert_eq!(made.status(), 200, "{}", made.text());
    let received = upstream.request(0).await.json();
    assert_eq!(received["modelId"], "anthropic.claude-v1:0");
    assert_eq!(received["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"], "s3://batches/out/");
    let id = text_of(&made, "jobArn");
    let encoded = id.replace(':', "%3A").replace('/', "%2F");
    ask(&keymux, "POST", &format!("{path}/{encoded}/stop"), "me", b"").await;
    let arn = arn.replace(':', "%3A").replace('/', "%2F");
    assert_eq!(upstream.request(1).await.path(), format!("{path}/{arn}/stop"));
    let foreign = ask(&keymux, "GET", &format!("{path}/{encoded}"), "you", b"").await;
    assert_eq!(foreign.status(), 404);
    let outside =
        ask(&keymux, "POST", path, "me", job("s3://batches-of-others/x").as_bytes()).await;
    assert_eq!(outside.status(), 400, "{}", outside.text());
    assert_eq!(upstream.requests().len(), 2);
}
