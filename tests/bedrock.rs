//! Bedrock: signed requests, callers that sign, and sources of credentials. The provider of these tests
//! recomputes every signature.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "so a test fails")]

#[path = "bedrock/sigv4.rs"]
mod sigv4;

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::config::config;
use common::http::{Reply, exchange, post};
use common::keymux::{Keymux, run};
use common::upstream::{Received, Step, Upstream, answer, json_answer};
use serde_json::{Value, json};
use sigv4::{Pair, expected, signed};

const OWN: Pair = Pair { id: "AKIDOWN", secret: "own/secret+7f3a9c2e51b8", token: None };
const IRELAND: Pair = Pair {
    id: "ASIAIRELAND",
    secret: "ireland-secret-8d1f",
    token: Some("IQoJb3JpZ2luX2Vj//session=="),
};
const CALLER: Pair = Pair { id: "AKIDCALLER", secret: "caller-secret-1c9e", token: None };
const BODY: &str = r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}]}"#;

const OWN_KEY: &str = r#"
[[providers.bedrock.keys]]
name = "aws"
[providers.bedrock.keys.bedrock_key_config]
region = "us-east-1"
access_key = "AKIDOWN"
secret_key = "own/secret+7f3a9c2e51b8"
"#;

const IRELAND_TOO: &str = r#"
[providers.bedrock.keys.bedrock_key_config.regions.eu-west-1]
access_key = "ASIAIRELAND"
secret_key = "ireland-secret-8d1f"
session_token = "IQoJb3JpZ2luX2Vj//session=="
"#;

const CLIENTS: &str = r#"
[[clients]]
name = "by-key"
key = "client-key-5e2b"

[[clients]]
name = "by-pair"
aws = { access_key = "AKIDCALLER", secret_key = "caller-secret-1c9e" }
"#;

fn bedrock(upstream: &Upstream, keys: &str) -> String {
    format!("[providers.bedrock]\nbase_url = \"{}\"\n{keys}", upstream.url())
}

async fn keymux(upstream: &Upstream, keys: &str, env: &[(&str, &str)]) -> Keymux {
    Keymux::start(&config("", &[bedrock(upstream, keys)]), env).await
}

async fn answering() -> Upstream {
    Upstream::always(json_answer(200, &json!({"output": {}, "stopReason": "end_turn"}))).await
}

async fn send(keymux: &Keymux, path: &str) -> Reply {
    post(keymux.address(), path, &[], &serde_json::from_str::<Value>(BODY).unwrap()).await
}

fn assert_signed(received: &Received, pair: Pair, region: &str) {
    let authorization = received.header("authorization").unwrap_or_default();
    assert_eq!(authorization, expected(received, pair, region, "bedrock"), "{}", received.path());
    assert_eq!(received.header("x-amz-security-token"), pair.token);
}

#[tokio::test]
async fn every_operation_is_signed_with_encoded_and_plain_model_ids() {
    let upstream = answering().await;
    let keymux = keymux(&upstream, OWN_KEY, &[]).await;
    let profile = "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2F";
    let paths = [
        ("/model/amazon.nova-lite-v1%3A0/converse", "/model/amazon.nova-lite-v1%3A0/converse"),
        ("/model/amazon.nova-lite-v1:0/converse", "/model/amazon.nova-lite-v1%3A0/converse"),
        (
            "/model/bedrock%2Famazon.titan-v1%3A0/invoke-with-response-stream",
            "/model/amazon.titan-v1%3A0/invoke-with-response-stream",
        ),
        ("/model/bedrock/amazon.titan-v1:0/invoke", "/model/amazon.titan-v1%3A0/invoke"),
        ("/model/x/count-tokens", "/model/x/count-tokens"),
        (
            "/model/arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x-v1:0/converse",
            &format!("/model/{profile}us.x-v1%3A0/converse"),
        ),
        (
            &format!("/model/{profile}us.x-v1%3A0/converse-stream"),
            &format!("/model/{profile}us.x-v1%3A0/converse-stream"),
        ),
    ];
    for (place, (path, sent)) in paths.iter().enumerate() {
        assert_eq!(send(&keymux, path).await.status(), 200, "{path}");
        let received = upstream.request(place).await;
        assert_eq!(received.path(), *sent);
        assert_eq!(received.body, BODY.as_bytes());
        assert_signed(&received, OWN, "us-east-1");
        let names = received.header("authorization").unwrap();
        assert!(names.contains("SignedHeaders=content-type;host;x-amz-date,"), "{names}");
    }
}

#[tokio::test]
async fn a_region_in_the_model_selects_a_region_of_the_key() {
    let upstream = answering().await;
    let keys =
        format!("{OWN_KEY}deployments = {{ \"nova\" = \"amazon.nova-lite-v1:0\" }}\n{IRELAND_TOO}");
    let keys = keys.replace("name = \"aws\"", "name = \"aws\"\nblacklisted_models = [\"secret*\"]");
    let keymux = keymux(&upstream, &keys, &[]).await;

    assert_eq!(send(&keymux, "/model/bedrock%2Feu-west-1%2Fnova/converse").await.status(), 200);
    let received = upstream.request(0).await;
    assert_eq!(received.path(), "/model/amazon.nova-lite-v1%3A0/converse");
    assert_signed(&received, IRELAND, "eu-west-1");

    assert_eq!(send(&keymux, "/model/eu-west-1%2Fnova/converse").await.status(), 200);
    assert_signed(&upstream.request(1).await, IRELAND, "eu-west-1");
    assert_eq!(send(&keymux, "/model/us-east-1%2Fnova/converse").await.status(), 200);
    assert_signed(&upstream.request(2).await, OWN, "us-east-1");

    for other in ["ap-south-1%2Fnova", "bedrock%2Fap-south-1%2Fnova", "eu-west-1%2Fsecret-model"] {
        let reply = send(&keymux, &format!("/model/{other}/converse")).await;
        assert_eq!(reply.status(), 404, "{other}: {}", reply.text());
        assert_eq!(reply.header("x-amzn-errortype"), Some("ResourceNotFoundException"));
    }
    assert_eq!(upstream.requests().len(), 3);

    let explained = run(keymux.folder(), &["explain", "bedrock/ap-south-1/nova"], &[]);
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(explained.contains("aws  excluded: does not have this region"), "{explained}");
    let explained = run(keymux.folder(), &["explain", "bedrock/eu-west-1/nova"], &[]);
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(explained.contains("as amazon.nova-lite-v1:0"), "{explained}");
}

#[tokio::test]
async fn an_api_key_is_sent_as_bearer() {
    let upstream = answering().await;
    let keys = "[[providers.bedrock.keys]]\nname = \"aws\"\nvalue = \"ABSKQmVkcm9ja0FQSUtleS1x\"\n\
                bedrock_key_config = { region = \"us-west-2\" }\n";
    let keymux = keymux(&upstream, keys, &[]).await;
    assert_eq!(send(&keymux, "/model/m/converse").await.status(), 200);
    let received = upstream.request(0).await;
    assert_eq!(received.header("authorization"), Some("Bearer ABSKQmVkcm9ja0FQSUtleS1x"));
    assert_eq!(received.header("x-amz-date"), None);
}

#[tokio::test]
async fn the_signed_text_in_an_aws_error_is_redacted() {
    let text = format!(
        "The Canonical String for this request should have been\n\
         'POST\\nx-amz-security-token:{}\\nAKIDOWN'",
        IRELAND.token.unwrap()
    );
    let kind = [("x-amzn-errortype", "InvalidSignatureException")];
    let body = json!({"message": text}).to_string();
    let upstream = Upstream::always(answer(403, &kind, body.as_bytes())).await;
    let keymux = keymux(&upstream, &format!("{OWN_KEY}{IRELAND_TOO}"), &[]).await;
    let reply = send(&keymux, "/model/eu-west-1%2Fm/converse").await;
    assert_eq!(reply.status(), 403);
    assert_eq!(reply.header("x-amzn-errortype"), Some("InvalidSignatureException"));
    let text = reply.text();
    assert!(
        !text.contains("IQoJb3") && !text.contains("session") && !text.contains("AKIDOWN"),
        "{text}"
    );
}

#[tokio::test]
async fn callers_authenticate_by_key_or_by_signature() {
    let upstream = answering().await;
    let keymux =
        Keymux::start(&config("", &[CLIENTS.to_owned(), bedrock(&upstream, OWN_KEY)]), &[]).await;
    let path = "/model/amazon.nova-lite-v1%3A0/converse";
    let now = SystemTime::now();
    let send =
        async |pair: Pair, at: SystemTime, signed_path: &str, change: &dyn Fn(&str) -> String| {
            let text =
                String::from_utf8(signed(pair, "eu-north-1", at, signed_path, BODY)).unwrap();
            exchange(keymux.address(), change(&text).as_bytes()).await
        };
    let same = |text: &str| text.to_owned();

    let reply = send(CALLER, now, path, &same).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_signed(&upstream.request(0).await, OWN, "us-east-1");
    let reply = send(CALLER, now, "/model/amazon.nova-lite-v1:0/converse", &same).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let temporary = Pair { token: Some("a-token-of-the-caller"), ..CALLER };
    assert_eq!(send(temporary, now, path, &same).await.status(), 200);
    let received = upstream.request(2).await;
    assert_eq!(received.header("x-amz-security-token"), None, "the caller's own stays here");

    let bearer = [("authorization", "Bearer client-key-5e2b")];
    let reply = post(keymux.address(), path, &bearer, &json!({"messages": []})).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let before = upstream.requests().len();

    let minutes = |count: u64| Duration::from_secs(60 * count);
    let wrong = Pair { secret: "another-secret", ..CALLER };
    let stranger = Pair { id: "AKIDSTRANGER", ..CALLER };
    let invalid = "InvalidSignatureException";
    let moved = |text: &str| text.replacen("nova-lite", "nova-pro", 1);
    let rewritten = |text: &str| text.replace("\"hi\"", "\"ho\"");
    let truncated = |text: &str| text.replace("SignedHeaders=", "Headers=");
    for (reply, kind) in [
        (send(wrong, now, path, &same).await, invalid),
        (send(CALLER, now - minutes(20), path, &same).await, invalid),
        (send(CALLER, now + minutes(20), path, &same).await, invalid),
        (send(CALLER, now, path, &moved).await, invalid),
        (send(CALLER, now, path, &rewritten).await, invalid),
        (send(CALLER, now, path, &truncated).await, "IncompleteSignatureException"),
        (send(stranger, now, path, &same).await, "UnrecognizedClientException"),
    ] {
        assert_eq!(reply.status(), 403, "{}", reply.text());
        assert_eq!(reply.header("x-amzn-errortype"), Some(kind), "{}", reply.text());
        assert!(reply.json()["message"].is_string());
    }
    assert_eq!(upstream.requests().len(), before, "nothing of it went on");
    let log = keymux.log();
    assert!(!log.contains("caller-secret") && !log.contains("own/secret"), "{log}");
}

/// Returns a recorded exchange with the Bedrock runtime.
fn recorded(id: &str) -> Option<Value> {
    let shared = std::env::var_os("KEYMUX_SHARED")?;
    let path = std::path::PathBuf::from(shared).join(format!("fixtures/bedrock/{id}.json"));
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

#[tokio::test]
async fn a_recorded_stream_passes_byte_for_byte() {
    let id = "bedrock.converse_stream/stream-document-us-anthropic-claude-haiku-4-2820a6";
    let Some(recorded) = recorded(id) else { return println!("skipped: no KEYMUX_SHARED") };
    let stream = recorded["response"]["body_b64"].as_str().unwrap();
    let stream = BASE64_STANDARD.decode(stream).unwrap();
    let mut head = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n\
                     x-amzn-requestid: 8dfd\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_vec();
    for part in stream.chunks(333) {
        head.extend(common::upstream::chunk(part));
    }
    head.extend(b"0\r\n\r\n");
    let upstream = Upstream::always(vec![Step::Send(head)]).await;
    let keymux = keymux(&upstream, OWN_KEY, &[]).await;
    let path = "/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse-stream";
    let body = &recorded["request"]["body"];
    let reply = post(keymux.address(), path, &[], body).await;
    assert!(reply.complete);
    assert_eq!(reply.header("content-type"), Some("application/vnd.amazon.eventstream"));
    assert_eq!(reply.header("x-amzn-requestid"), Some("8dfd"));
    assert!(reply.body == stream, "{} bytes of {}", reply.body.len(), stream.len());
    assert_eq!(upstream.request(0).await.json(), *body);
}

fn assumed(token: &str) -> Vec<Step> {
    let body = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
         <AssumedRoleUser><AssumedRoleId>ARO:keymux</AssumedRoleId><Arn>arn:aws:sts::1:r</Arn>\
         </AssumedRoleUser><Credentials><AccessKeyId>ASIAROLEEXAMPLE1</AccessKeyId>\
         <SecretAccessKey>role-secret-4b7d</SecretAccessKey><SessionToken>{token}</SessionToken>\
         <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>\
         <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleResponse>"
    );
    answer(200, &[("content-type", "text/xml")], body.as_bytes())
}

const ROLE: &str = "arn = \"arn:aws:iam::123456789012:role/bedrock-caller\"\n";

#[tokio::test]
async fn a_role_is_assumed_before_the_first_request_and_after_it_expires() {
    let count = AtomicUsize::new(0);
    let sts = Upstream::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => assumed("first-session-token"),
        _ => assumed("second-session-token"),
    })
    .await;
    let upstream = Upstream::start(|received| {
        if received.header("x-amz-security-token") == Some("first-session-token") {
            let kind = [("x-amzn-errortype", "ExpiredTokenException:http://internal/")];
            return answer(403, &kind, br#"{"message":"The security token is expired"}"#);
        }
        json_answer(200, &json!({"output": {}}))
    })
    .await;
    let env = [("AWS_ENDPOINT_URL_STS", &*sts.url())];
    let keymux = keymux(&upstream, &format!("{OWN_KEY}{ROLE}"), &env).await;

    let request = sts.request(0).await;
    assert!(request.path().contains("Action=AssumeRole"), "{}", request.path());
    assert!(request.path().contains("role%2Fbedrock-caller"), "{}", request.path());
    assert!(request.path().contains("RoleSessionName=keymux"), "{}", request.path());
    assert_eq!(request.header("host"), Some("sts.us-east-1.amazonaws.com"));
    let authorization = request.header("authorization").unwrap();
    let ours = expected(&request, OWN, "us-east-1", "sts");
    assert_eq!(
        authorization.rsplit_once("Signature=").unwrap().1,
        ours.rsplit_once("Signature=").unwrap().1
    );

    let reply = send(&keymux, "/model/amazon.nova-lite-v1%3A0/converse").await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(reply.header("x-keymux-attempts"), Some("1"));
    let role =
        |token| Pair { id: "ASIAROLEEXAMPLE1", secret: "role-secret-4b7d", token: Some(token) };
    assert_signed(&upstream.request(0).await, role("first-session-token"), "us-east-1");
    assert_signed(&upstream.request(1).await, role("second-session-token"), "us-east-1");

    for _ in 0..5 {
        assert_eq!(send(&keymux, "/model/m/converse").await.status(), 200);
    }
    assert_eq!((sts.requests().len(), upstream.requests().len()), (2, 7));
}

#[tokio::test]
async fn a_denied_role_is_a_bad_credential_of_its_key_only() {
    let refusal = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                   <Message>User AKIDOWN is not authorized</Message></Error></ErrorResponse>";
    let sts = Upstream::always(answer(403, &[], refusal.as_bytes())).await;
    let upstream = answering().await;
    let other = "[[providers.bedrock.keys]]\nname = \"other\"\nweight = 0\n\
                 value = \"ABSKQmVkcm9ja0FQSUtleS1x\"\nbedrock_key_config = { region = \"us-east-1\" }\n";
    let env = [("AWS_ENDPOINT_URL_STS", &*sts.url())];
    let keymux = keymux(&upstream, &format!("{OWN_KEY}{ROLE}{other}"), &env).await;
    let reply = send(&keymux, "/model/m/converse").await;
    assert_eq!((reply.status(), reply.header("x-keymux-key")), (200, Some("other")));
    let log = keymux.log_with("no token").await;
    assert!(log.contains("bedrock/aws") && !log.contains("AKIDOWN"), "{log}");
}

#[tokio::test]
async fn the_default_chain_uses_the_environment_or_a_container() {
    let keys = "[[providers.bedrock.keys]]\nname = \"aws\"\n\
                bedrock_key_config = { region = \"us-east-1\" }\n";
    let upstream = answering().await;
    let env = [
        ("AWS_ACCESS_KEY_ID", IRELAND.id),
        ("AWS_SECRET_ACCESS_KEY", IRELAND.secret),
        ("AWS_SESSION_TOKEN", IRELAND.token.unwrap()),
    ];
    let running = keymux(&upstream, keys, &env).await;
    let reply = send(&running, "/model/m/converse").await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_signed(&upstream.request(0).await, IRELAND, "us-east-1");

    let container = Upstream::always(json_answer(
        200,
        &json!({
            "AccessKeyId": "ASIABOX", "SecretAccessKey": "box-secret-0f1e",
            "Token": "box-token", "Expiration": "2099-01-01T00:00:00Z",
        }),
    ))
    .await;
    let uri = format!("{}/v1/credentials", container.url());
    let env = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*uri),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token"),
        ("AWS_CONFIG_FILE", "/nonexistent"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let running = keymux(&upstream, keys, &env).await;
    let reply = send(&running, "/model/m/converse").await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let of_box = Pair { id: "ASIABOX", secret: "box-secret-0f1e", token: Some("box-token") };
    assert_signed(&upstream.request(1).await, of_box, "us-east-1");
    assert_eq!(container.request(0).await.header("authorization"), Some("pod-token"));
}

/// As in a pod on EKS: a token in a file, which STS exchanges for credentials of a role.
#[tokio::test]
async fn the_default_chain_uses_a_web_identity() {
    let keys = "[[providers.bedrock.keys]]\nname = \"aws\"\n\
                bedrock_key_config = { region = \"us-east-1\" }\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "web-identity-token").unwrap();
    let sts = Upstream::start(|_| {
        let Step::Send(assumed) = &assumed("web-session")[0] else { panic!("an answer") };
        let text = String::from_utf8(assumed.clone()).unwrap();
        let body = text.split_once("\r\n\r\n").unwrap().1;
        let body = body.replace("AssumeRoleRe", "AssumeRoleWithWebIdentityRe");
        answer(200, &[("content-type", "text/xml")], body.as_bytes())
    })
    .await;
    let upstream = answering().await;
    let env = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod"),
        ("AWS_ENDPOINT_URL_STS", &*sts.url()),
        ("AWS_CONFIG_FILE", "/nonexistent"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent"),
    ];
    let running = keymux(&upstream, keys, &env).await;
    let reply = send(&running, "/model/m/converse").await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let request = sts.request(0).await;
    let text = format!("{} {}", request.path(), String::from_utf8_lossy(&request.body));
    assert!(
        text.contains("AssumeRoleWithWebIdentity") && text.contains("web-identity-token"),
        "{text}"
    );
    let pod =
        Pair { id: "ASIAROLEEXAMPLE1", secret: "role-secret-4b7d", token: Some("web-session") };
    assert_signed(&upstream.request(0).await, pod, "us-east-1");
}

const CLAUDE: &str = "/v1/messages?beta=true";

#[tokio::test]
async fn anthropic_callers_reach_claude_on_bedrock() {
    let upstream = Upstream::always(json_answer(200, &json!({"type": "message"}))).await;
    let keymux = keymux(&upstream, OWN_KEY, &[]).await;
    let body =
        json!({"model": "bedrock/us.anthropic.claude-v1:0", "max_tokens": 9, "stream": false});
    let headers = [("anthropic-version", "2023-06-01"), ("anthropic-beta", "a-1,b-2")];
    let reply = post(keymux.address(), CLAUDE, &headers, &body).await;
    assert_eq!((reply.status(), reply.json()), (200, json!({"type": "message"})));
    let received = upstream.request(0).await;
    assert_signed(&received, OWN, "us-east-1");
    assert_eq!(received.path(), "/model/us.anthropic.claude-v1%3A0/invoke");
    let betas = ["a-1", "b-2"];
    let expected = json!({"anthropic_version": "bedrock-2023-05-31", "anthropic_beta": betas, "max_tokens": 9});
    assert_eq!(received.json(), expected);
}

#[tokio::test]
async fn anthropic_callers_receive_anthropic_events_and_errors() {
    let id = "bedrock.invoke_model_stream/stream-text-us-anthropic-claude-haiku-4-a102e8";
    let Some(recorded) = recorded(id) else { return println!("skipped: no KEYMUX_SHARED") };
    let stream = recorded["response"]["body_b64"].as_str().unwrap();
    let stream = BASE64_STANDARD.decode(stream).unwrap();
    let upstream = Upstream::start(move |received| {
        if received.number == 2 {
            let error = [("x-amzn-errortype", "ThrottlingException")];
            return answer(429, &error, b"{\"message\":\"Too many tokens\"}");
        }
        let mut steps = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n\
                          transfer-encoding: chunked\r\n\r\n"
            .to_vec();
        let end = if received.number == 0 { stream.len() } else { stream.len() / 2 };
        for part in stream[..end].chunks(333) {
            steps.extend(common::upstream::chunk(part));
        }
        steps.extend(if received.number == 0 { &b"0\r\n\r\n"[..] } else { b"" });
        vec![Step::Send(steps), Step::Close]
    })
    .await;
    let keymux = keymux(&upstream, OWN_KEY, &[]).await;
    let body = json!({"model": "bedrock/claude", "max_tokens": 9, "stream": true});
    let reply = post(keymux.address(), CLAUDE, &[], &body).await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    let text = reply.text();
    let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!((names[0], *names.last().unwrap()), ("message_start", "message_stop"));
    for (line, name) in text.lines().filter_map(|line| line.strip_prefix("data: ")).zip(names) {
        let data: Value = serde_json::from_str(line).unwrap();
        assert_eq!(data["type"], name);
    }
    assert!(upstream.request(0).await.path().contains("/invoke-with-response-stream"));

    let cut = post(keymux.address(), CLAUDE, &[], &body).await.text();
    assert!(cut.contains("event: error\n") && !cut.contains("message_stop"), "{cut}");

    let error = post(keymux.address(), CLAUDE, &[], &body).await;
    assert_eq!((error.status(), &error.json()["error"]["type"]), (429, &json!("rate_limit_error")));
    assert_eq!(error.json()["error"]["message"], "Too many tokens");
}

#[tokio::test]
async fn an_inference_profile_prefixes_or_replaces_the_model() {
    let profile = "arn:aws:bedrock:us-east-1:1:inference-profile";
    for (arn, request) in [
        (profile.to_owned(), format!("{profile}/claude")),
        (format!("{profile}/us.mine"), format!("{profile}/us.mine")),
    ] {
        let upstream = answering().await;
        let keymux = keymux(&upstream, &format!("{OWN_KEY}arn = \"{arn}\"\n"), &[]).await;
        assert_eq!(send(&keymux, "/model/bedrock%2Fclaude/converse").await.status(), 200);
        let model = request.replace(':', "%3A").replace('/', "%2F");
        assert_eq!(upstream.request(0).await.path(), format!("/model/{model}/converse"));
    }
}
