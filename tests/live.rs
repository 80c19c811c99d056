//! `keymux check --live`: the calls to each kind of provider and their results; and `/keys`, the state of the
//! keys of the running gateway.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

mod common;

use std::fmt::Write as _;
use std::process::Output;
use std::time::{Duration, Instant};

use common::config::{config, key, provider, secret};
use common::google::service_account;
use common::http;
use common::keymux::{Keymux, free_ports, run};
use common::upstream::{Received, Step, Upstream, answer, chat_answer, json_answer};
use serde_json::{Value, json};

/// Unusual characters, so that no part of them occurs by chance.
const CLIENT_SECRET: &str = "Gx5Mv8Cq2Zt7Pk4Wy9Jb";
const AWS_SECRET: &str = "Hq7Tz2Vn9Kc4Xw6Bd3Mj8Rf5Lp1Yg0Sv2Nk7Qa4W";
const TOKEN: &str = "Kf3Yz6Qn9Xd2Vw7Tg5Rp";

/// Runs the check on a file with these providers.
async fn check(providers: &str, flags: &[&str], env: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keymux.toml"), providers).unwrap();
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let env: Vec<(String, String)> =
        env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let running = tokio::task::spawn_blocking(move || {
        let flags: Vec<&str> =
            ["check", "--live"].into_iter().chain(flags.iter().map(|f| &**f)).collect();
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (&**name, &**value)).collect();
        run(folder.path(), &flags, &env)
    });
    running.await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Returns the list that the check prints, in the order of the file.
async fn listed(providers: &str, env: &[(&str, &str)]) -> Vec<Value> {
    let output = check(providers, &["--json"], env).await;
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", text(&output.stdout) + &text(&output.stderr))
    });
    let rows = rows.as_array().unwrap().clone();
    let all_ok = rows.iter().all(|row| row["result"] == "ok");
    assert_eq!(output.status.code(), Some(i32::from(!all_ok)), "{rows:?}");
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    rows
}

/// Returns the finding for the only key, and its detail.
async fn found(providers: &str, env: &[(&str, &str)]) -> (String, String) {
    let rows = listed(providers, env).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    let of = |name: &str| rows[0][name].as_str().unwrap_or_default().to_owned();
    (of("result"), of("detail"))
}

/// Returns a provider of this kind and address with one key.
fn keyed(kind: &str, url: &str) -> String {
    format!(
        "[providers.{kind}]\nbase_url = \"{url}\"\ntimeouts = {{ first_byte = \"700ms\" }}\n\
         [[providers.{kind}.keys]]\nname = \"k\"\nvalue = \"{}\"\n",
        secret(kind)
    )
}

fn models() -> Vec<Step> {
    json_answer(200, &json!({ "object": "list", "data": [] }))
}

fn refuse(status: u16, code: &str) -> Vec<Step> {
    json_answer(status, &json!({ "error": { "code": code, "message": "whatever" } }))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_with_an_api_key_gets_a_free_call() {
    for (kind, path, header, scheme) in [
        ("openai", "/under/models", "authorization", "Bearer "),
        ("anthropic", "/under/v1/models?limit=1", "x-api-key", ""),
        ("gemini", "/under/v1beta/models?pageSize=1", "x-goog-api-key", ""),
        ("mistral", "/under/models", "authorization", "Bearer "),
        ("deepseek", "/under/models", "authorization", "Bearer "),
        ("xai", "/under/models", "authorization", "Bearer "),
        ("zai", "/under/models", "authorization", "Bearer "),
        ("cohere", "/under/v1/models?page_size=1", "authorization", "Bearer "),
        ("groq", "/under/models", "authorization", "Bearer "),
        ("together", "/under/models", "authorization", "Bearer "),
        ("replicate", "/under/v1/account", "authorization", "Bearer "),
        ("vllm", "/under/models", "authorization", "Bearer "),
        ("ollama", "/under/models", "authorization", "Bearer "),
        ("sglang", "/under/models", "authorization", "Bearer "),
        ("openai-compatible", "/under/models", "authorization", "Bearer "),
    ] {
        let upstream = Upstream::always(models()).await;
        let url = format!("{}/under", upstream.url());
        let (result, _) = found(&keyed(kind, &url), &[]).await;
        assert_eq!(result, "ok", "{kind}");
        let requests = upstream.requests();
        assert_eq!(requests.len(), 1, "{kind}");
        assert_eq!((requests[0].method(), requests[0].path()), ("GET", path));
        assert_eq!(requests[0].header(header), Some(&*format!("{scheme}{}", secret(kind))));
        let version = requests[0].header("anthropic-version");
        assert_eq!(version, (kind == "anthropic").then_some("2023-06-01"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn self_hosted_servers_are_called_at_the_address_of_the_key_and_echo_is_not_called() {
    let upstream = Upstream::always(models()).await;
    let text = format!(
        "[providers.echo]\n[[providers.vllm.keys]]\nname = \"k\"\nvllm_key_config = {{ url = \"{}\" }}\n\
         [[providers.vllm.keys]]\nname = \"off\"\nenabled = false\n",
        upstream.url()
    );
    let rows = listed(&text, &[]).await;
    let results: Vec<_> = rows.iter().map(|row| (&row["provider"], &row["result"])).collect();
    assert_eq!(results, [(&json!("echo"), &json!("ok")), (&json!("vllm"), &json!("ok"))]);
    assert_eq!(upstream.request(0).await.path(), "/v1/models");
    assert_eq!(upstream.request(0).await.header("authorization"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_response_has_its_finding() {
    let page = answer(200, &[("content-type", "text/html")], b"<html>Welcome</html>");
    let moved = answer(302, &[("location", "http://127.0.0.1:1/login")], b"");
    for (steps, result, detail) in [
        (models(), "ok", ""),
        (refuse(401, "invalid_api_key"), "bad_credential", "401 invalid_api_key"),
        (refuse(403, "unsupported_country"), "no_access", "403 unsupported_country"),
        (refuse(402, "insufficient_balance"), "no_credit", "402 insufficient_balance"),
        (refuse(429, "rate_limit_exceeded"), "throttled", "429 rate_limit_exceeded"),
        (refuse(429, "insufficient_quota"), "no_credit", "429 insufficient_quota"),
        (refuse(401, "a text that is no code"), "bad_credential", "401"),
        (refuse(503, "overloaded"), "unreachable", "HOST returned status 503 overloaded"),
        (
            answer(404, &[], b""),
            "unreachable",
            "HOST returned status 404: the API is not at this address",
        ),
        (moved, "unreachable", "HOST returned status 302: redirects are not followed"),
        (page, "unreachable", "HOST returned a web page"),
        (vec![Step::Close], "unreachable", "HOST closed the connection before it answered"),
        (vec![Step::Hang], "timeout", "HOST did not answer within 700ms"),
    ] {
        let upstream = Upstream::always(steps).await;
        let said = found(&keyed("openai", &upstream.url()), &[]).await;
        let detail = detail.replace("HOST", &upstream.url());
        assert_eq!(said, (result.to_owned(), detail));
        assert_eq!(upstream.requests().len(), 1, "{result}");
    }
    let nobody = format!("http://127.0.0.1:{}", free_ports()[0]);
    let said = found(&keyed("openai", &nobody), &[]).await;
    assert_eq!(said, ("unreachable".to_owned(), format!("{nobody} could not be reached")));
}

#[tokio::test(flavor = "multi_thread")]
async fn rejections_of_each_vendor_are_recognized() {
    let google = json!({ "error": { "code": 400, "status": "INVALID_ARGUMENT", "message": "API key not valid. Please pass a valid API key.", "details": [{ "reason": "API_KEY_INVALID" }] } });
    let anthropic = json!({ "type": "error", "error": { "type": "authentication_error", "message": "invalid x-api-key" } });
    let xai = json!({ "code": "Client specified an invalid argument", "error": "Incorrect API key provided: ab***yz." });
    let cohere = json!({ "id": "x", "message": "invalid api token" });
    for (kind, status, body, detail) in [
        ("gemini", 400, google, "400 INVALID_ARGUMENT"),
        ("anthropic", 401, anthropic, "401 authentication_error"),
        ("xai", 400, xai, "400"),
        ("cohere", 401, cohere, "401"),
    ] {
        let upstream = Upstream::always(json_answer(status, &body)).await;
        let said = found(&keyed(kind, &upstream.url()), &[]).await;
        assert_eq!(said, ("bad_credential".to_owned(), detail.to_owned()), "{kind}");
    }
}

fn token() -> Vec<Step> {
    json_answer(200, &json!({ "access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600 }))
}

fn azure(endpoint: &str, credential: &str) -> String {
    format!(
        "[providers.azure]\ntimeouts = {{ first_byte = \"700ms\" }}\n[[providers.azure.keys]]\nname = \"k\"\n\
         [providers.azure.keys.azure_key_config]\nendpoint = \"{endpoint}\"\n{credential}\n"
    )
}

fn entra(issuer: &Upstream) -> String {
    format!(
        "authority_host = \"{}\"\ntenant_id = \"contoso\"\nclient_id = \"me\"\nclient_secret = \"{CLIENT_SECRET}\"\n",
        issuer.url()
    )
}

/// Returns a service account with tokens of this issuer, and its private key.
fn vertex(endpoint: &Upstream, issuer: &Upstream) -> (String, String) {
    let (account, private) = service_account(&issuer.url());
    let text = format!(
        "[providers.vertex]\nbase_url = \"{}\"\ntimeouts = {{ first_byte = \"1500ms\" }}\n\
         [[providers.vertex.keys]]\nname = \"k\"\n\
         [providers.vertex.keys.vertex_key_config]\nregion = \"global\"\nauth_credentials = '''{account}'''\n",
        endpoint.url()
    );
    (text, private)
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_is_called_with_the_api_version_of_the_key() {
    for (version, path) in [
        ("api_version = \"v1\"", "/openai/v1/models"),
        ("api_version = \"2024-10-21\"", "/openai/models?api-version=2024-10-21"),
    ] {
        let upstream = Upstream::always(models()).await;
        let text = azure(&upstream.url(), version)
            .replace("name = \"k\"\n", "name = \"k\"\nvalue = \"the-key-of-azure\"\n");
        assert_eq!(found(&text, &[]).await.0, "ok");
        let request = upstream.request(0).await;
        assert_eq!(request.path(), path);
        assert_eq!(request.header("api-key"), Some("the-key-of-azure"));
    }
    let (upstream, issuer) = (Upstream::always(models()).await, Upstream::always(token()).await);
    assert_eq!(found(&azure(&upstream.url(), &entra(&issuer)), &[]).await.0, "ok");
    assert_eq!(
        upstream.request(0).await.header("authorization"),
        Some(&*format!("Bearer {TOKEN}"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_azure_token_means_no_access() {
    let refused = refuse(401, "PermissionDenied");
    let (upstream, issuer) = (Upstream::always(refused).await, Upstream::always(token()).await);
    let said = found(&azure(&upstream.url(), &entra(&issuer)), &[]).await;
    assert_eq!(said, ("no_access".to_owned(), "401 PermissionDenied".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn token_issuers_that_reject_fail_or_hang_have_different_findings() {
    let upstream = Upstream::always(models()).await;
    let refused =
        json!({ "error": "invalid_client", "error_description": "x", "error_codes": [7_000_215] });
    let granted =
        json!({ "error": "invalid_grant", "error_description": "Invalid JWT Signature." });
    for (steps, result, detail) in [
        (
            json_answer(401, &refused),
            "bad_credential",
            "the token issuer returned invalid_client (AADSTS7000215)",
        ),
        (answer(503, &[], b""), "unreachable", "the token issuer returned status 503"),
        (vec![Step::Hang], "timeout", "no token within 700ms"),
    ] {
        let issuer = Upstream::always(steps).await;
        let said = found(&azure(&upstream.url(), &entra(&issuer)), &[]).await;
        assert_eq!(said, (result.to_owned(), detail.to_owned()));
    }
    for (steps, result, detail) in [
        (json_answer(400, &granted), "bad_credential", "the token issuer returned invalid_grant"),
        (vec![Step::Close], "unreachable", "the token issuer could not be reached"),
        (vec![Step::Hang], "timeout", "no token within 1.5s"),
    ] {
        let issuer = Upstream::always(steps).await;
        let said = found(&vertex(&upstream, &issuer).0, &[]).await;
        assert_eq!(said, (result.to_owned(), detail.to_owned()));
    }
    assert!(upstream.requests().is_empty(), "the provider is not asked without a token");
}

#[tokio::test(flavor = "multi_thread")]
async fn vertex_gets_a_call_that_needs_the_project() {
    let issuer = Upstream::always(token()).await;
    let upstream = Upstream::always(json_answer(200, &json!({ "locations": [] }))).await;
    assert_eq!(found(&vertex(&upstream, &issuer).0, &[]).await.0, "ok");
    let request = upstream.request(0).await;
    assert_eq!(request.path(), "/v1/projects/a-project/locations?pageSize=1");
    assert_eq!(request.header("authorization"), Some(&*format!("Bearer {TOKEN}")));
    let body = json!({ "error": { "code": 403, "status": "PERMISSION_DENIED", "message": "Vertex AI API has not been used in project 1 before or it is disabled.", "details": [{ "reason": "SERVICE_DISABLED" }] } });
    let upstream = Upstream::always(json_answer(403, &body)).await;
    let said = found(&vertex(&upstream, &issuer).0, &[]).await;
    assert_eq!(said, ("no_access".to_owned(), "403 PERMISSION_DENIED".to_owned()));
}

fn bedrock(url: &str, credential: &str) -> String {
    format!(
        "[providers.bedrock]\nbase_url = \"{url}\"\ntimeouts = {{ first_byte = \"700ms\" }}\n\
         [[providers.bedrock.keys]]\nname = \"k\"\n{credential}\n"
    )
}

fn pair() -> String {
    format!(
        "[providers.bedrock.keys.bedrock_key_config]\naccess_key = \"AKIAIOSFODNN7EXAMPLE\"\n\
         secret_key = \"{AWS_SECRET}\"\nregion = \"eu-west-1\"\n"
    )
}

fn identity() -> Vec<Step> {
    answer(200, &[("content-type", "text/xml")], b"<GetCallerIdentityResponse/>")
}

fn is_identity(request: &Received) -> bool {
    let signed = request.header("authorization").unwrap();
    request.method() == "POST"
        && request.body == b"Action=GetCallerIdentity&Version=2011-06-15"
        && signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/")
        && signed.contains("/eu-west-1/sts/aws4_request")
        && signed.contains("content-type;host;x-amz-date")
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_gets_a_call_for_the_identity() {
    let sts = Upstream::always(identity()).await;
    // With an address in the file, and with one in the environment.
    assert_eq!(found(&bedrock(&format!("{}/under", sts.url()), &pair()), &[]).await.0, "ok");
    let real = "https://bedrock-runtime.eu-west-1.amazonaws.com";
    let env = [("AWS_ENDPOINT_URL_STS", &*sts.url())];
    let rows = listed(&bedrock(real, &pair()), &env).await;
    assert_eq!((&rows[0]["result"], &rows[0]["region"]), (&json!("ok"), &json!("eu-west-1")));
    let requests = sts.requests();
    let paths: Vec<_> = requests.iter().map(Received::path).collect();
    assert_eq!(paths, ["/under/", "/"]);
    assert!(requests.iter().all(is_identity), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signature_errors_of_sts_are_recognized() {
    let error = |code: &str| {
        let xml = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>m</Message></Error></ErrorResponse>"
        );
        answer(403, &[("content-type", "text/xml")], xml.as_bytes())
    };
    for (steps, result, detail) in [
        (error("SignatureDoesNotMatch"), "bad_credential", "403 SignatureDoesNotMatch"),
        (error("InvalidClientTokenId"), "bad_credential", "403 InvalidClientTokenId"),
        (error("ExpiredToken"), "bad_credential", "403 ExpiredToken"),
        (error("AccessDenied"), "no_access", "403 AccessDenied"),
        (
            json_answer(400, &json!({ "Error": { "Code": "Throttling" } })),
            "throttled",
            "400 Throttling",
        ),
    ] {
        let sts = Upstream::always(steps).await;
        let said = found(&bedrock(&sts.url(), &pair()), &[]).await;
        assert_eq!(said, (result.to_owned(), detail.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bedrock_key_is_tested_in_each_region_and_an_api_key_with_the_models() {
    let sts = Upstream::always(identity()).await;
    let mut text = bedrock(&sts.url(), "");
    text += "[providers.bedrock.keys.bedrock_key_config]\nregion = \"eu-west-1\"\n";
    for region in ["eu-west-1", "us-east-1"] {
        let _ = write!(
            text,
            "[providers.bedrock.keys.bedrock_key_config.regions.{region}]\n\
             access_key = \"AKIAIOSFODNN7EXAMPLE\"\nsecret_key = \"{AWS_SECRET}\"\n"
        );
    }
    let rows = listed(&text, &[]).await;
    let mut regions: Vec<_> = rows.iter().map(|row| row["region"].as_str().unwrap()).collect();
    regions.sort_unstable();
    assert_eq!(regions, ["eu-west-1", "us-east-1"]);

    let denied = answer(
        403,
        &[("x-amzn-errortype", "AccessDeniedException:http://internal.amazon.com/")],
        br#"{"message":"Authentication failed: Please make sure your API Key is valid."}"#,
    );
    for (steps, result) in
        [(json_answer(200, &json!({ "modelSummaries": [] })), "ok"), (denied, "bad_credential")]
    {
        let control = Upstream::always(steps).await;
        let key = secret("bedrock");
        let region = "bedrock_key_config = { region = \"us-east-1\" }";
        let text = bedrock(&control.url(), &format!("value = \"{key}\"\n{region}"));
        assert_eq!(found(&text, &[]).await.0, result);
        let request = control.request(0).await;
        assert_eq!((request.method(), request.path()), ("GET", "/foundation-models"));
        assert_eq!(request.header("authorization"), Some(&*format!("Bearer {key}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_are_tested_within_one_deadline() {
    let upstream = Upstream::always(vec![Step::Hang]).await;
    let mut text = keyed("openai", &upstream.url());
    for number in 1..40 {
        let _ = write!(
            text,
            "[[providers.openai.keys]]\nname = \"k{number}\"\nvalue = \"{}\"\n",
            secret(&number.to_string())
        );
    }
    let began = Instant::now();
    let rows = listed(&text, &[]).await;
    assert!(began.elapsed() < Duration::from_millis(700 * 5), "{:?}", began.elapsed());
    assert_eq!(rows.len(), 40);
    assert!(rows.iter().all(|row| row["result"] == "timeout"));
    assert!(rows.iter().all(|row| row["latency_ms"].as_u64().unwrap() >= 700));
    let names: Vec<_> = rows.iter().map(|row| row["key"].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["k", "k1", "k2"], "in the order of the file");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_contains_a_part_of_a_secret() {
    // Returns everything it received, in its message and as a code.
    let parrot = Upstream::start(|request| {
        let names = ["authorization", "api-key", "x-api-key", "x-goog-api-key", "x-extra"];
        let shown = names.iter().filter_map(|name| request.header(name));
        let shown: Vec<&str> = shown.map(|text| text.trim_start_matches("Bearer ")).collect();
        let (all, last) = (shown.concat(), shown.last().copied().unwrap_or_default());
        let code = &last[last.len() - last.len().min(8)..];
        json_answer(401, &json!({ "error": { "code": code, "message": all, "type": code } }))
    });
    let parrot = parrot.await;
    let issuer = Upstream::start(|request| {
        let said = text(&request.body);
        json_answer(401, &json!({ "error": said, "error_description": said }))
    });
    let (issuer, giver) = (issuer.await, Upstream::always(token()).await);
    let (vertex, private) = vertex(&parrot, &giver);
    let mut file = ["openai", "anthropic", "gemini", "cohere", "replicate"]
        .map(|kind| keyed(kind, &parrot.url()))
        .concat();
    file = file.replacen(
        "timeouts = { first_byte = \"700ms\" }",
        "headers = { x-extra = \"Wd8Rk3Tv6Yb9Nf2Hq5\" }",
        1,
    );
    file += &azure(&parrot.url(), &entra(&issuer));
    file += &vertex;
    file += &bedrock(&parrot.url(), &pair());
    let mut said = String::new();
    for flags in [&["--json"][..], &[]] {
        let output = check(&file, flags, &[]).await;
        assert_eq!(output.status.code(), Some(1));
        said += &(text(&output.stdout) + &text(&output.stderr));
    }
    assert!(said.contains("8 calls: 8 bad credential"), "{said}");
    let keys = ["openai", "anthropic", "gemini", "cohere", "replicate"].map(secret);
    let others = [CLIENT_SECRET, AWS_SECRET, TOKEN, &private[40..200], "Wd8Rk3Tv6Yb9Nf2Hq5"];
    for secret in keys.iter().map(|key| &key[key.len() - 12..]).chain(others) {
        for start in 0..=secret.len() - 6 {
            let piece = &secret[start..start + 6];
            assert!(!said.contains(piece), "{piece} in\n{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_has_a_line_for_each_key_and_json_has_the_problems_of_a_bad_file() {
    let (good, bad) =
        (Upstream::always(models()).await, Upstream::always(refuse(401, "wrong_key")).await);
    let url = |upstream: &Upstream| format!("{}/v1", upstream.url());
    let file = keyed("groq", &url(&good)) + &keyed("openai", &url(&bad));
    let output = check(&file, &[], &[]).await;
    let said = text(&output.stdout);
    let lines: Vec<Vec<&str>> = said
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(lines[0][..2], ["groq/k", "ok"]);
    assert_eq!(lines[1][..2], ["openai/k", "bad credential"]);
    assert_eq!(lines[1][3], "401 wrong_key");
    assert_eq!(lines[2], ["2 calls: 1 ok, 1 bad credential"]);
    assert!(lines[0][2].ends_with(" ms"), "{said}");
    assert!(!said.contains('\u{1b}') && output.stderr.is_empty(), "no terminal, no colour");
    assert_eq!(output.status.code(), Some(1));

    let output = check("[providers.openai]\nkeyz = []\n", &["--json"], &[]).await;
    let problems: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(problems[0]["path"], "providers.openai.keyz");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn the_running_gateway_reports_the_state_of_its_keys() {
    let upstream = Upstream::start(|request| match request.header("authorization") {
        Some(shown) if shown.ends_with(&secret("good")) => chat_answer("hello"),
        _ => answer(429, &[("retry-after", "30")], br#"{"error":{"message":"slow down"}}"#),
    });
    let upstream = upstream.await;
    let keys = [
        key("good", "weight = 0"),
        key("busy", ""),
        key("other", "models = [\"other\"]"),
        key("off", "enabled = false"),
    ];
    let keymux = Keymux::start(&config("", &[provider("main", &upstream, "", &keys)]), &[]).await;
    let before = keymux.admin("/keys").await.json();
    let states: Vec<_> = before.as_array().unwrap().iter().map(|row| &row["state"]).collect();
    assert_eq!(states, ["unknown", "unknown", "unknown", "disabled"]);
    assert_eq!(before[0]["last_result"], Value::Null);

    let body = json!({ "model": "main/x", "messages": [{ "role": "user", "content": "hello" }] });
    let reply = http::post(keymux.address(), "/v1/chat/completions", &[], &body).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let rows = keymux.admin("/keys").await.json();
    assert_eq!((&rows[0]["provider"], &rows[0]["key"]), (&json!("main"), &json!("good")));
    assert_eq!((&rows[0]["state"], &rows[0]["last_result"]["class"]), (&json!("ok"), &json!("ok")));
    assert!(rows[0]["last_result"]["at"].as_str().unwrap().ends_with('Z'), "{rows}");
    assert_eq!(
        (&rows[0]["cooldown_remaining_seconds"], &rows[0]["reason"]),
        (&Value::Null, &Value::Null)
    );
    // A limit is for one model.
    assert_eq!((&rows[1]["state"], &rows[1]["reason"]), (&json!("unknown"), &Value::Null));
    assert_eq!(rows[1]["last_result"]["class"], "throttled");
    let model = &rows[1]["models"][0];
    assert_eq!((&model["model"], &model["state"]), (&json!("x"), &json!("cooling")));
    assert_eq!(model["reason"], "throttled");
    assert!((25..=33).contains(&model["cooldown_remaining_seconds"].as_u64().unwrap()), "{rows}");
    assert_eq!((&rows[0]["models"], &rows[2]["models"]), (&json!([]), &json!([])));
    assert_eq!((&rows[2]["state"], &rows[3]["enabled"]), (&json!("unknown"), &json!(false)));
}

#[tokio::test]
async fn the_running_gateway_tests_its_keys_on_request() {
    let upstream = Upstream::start(|request| match request.header("authorization") {
        Some(shown) if shown.ends_with(&secret("good")) => models(),
        _ => [vec![Step::Pause(Duration::from_millis(300))], refuse(401, "wrong_key")].concat(),
    });
    let upstream = upstream.await;
    let keys = [key("good", ""), key("bad", ""), key("off", "enabled = false")];
    let text = config("", &[provider("main", &upstream, "", &keys)]);
    let text = text.replace("[admin]\n", "[admin]\ntoken = \"the-token-of-admin\"\n");
    let keymux = &Keymux::start(&text, &[]).await;
    let shown = [("authorization", "Bearer the-token-of-admin")];
    let post = |headers: &[_]| {
        let request = http::request("POST", "/keys/check", headers, b"");
        async move { http::exchange(keymux.admin_address(), &request).await }
    };
    assert_eq!(post(&[]).await.status(), 401);
    assert_eq!(http::get(keymux.admin_address(), "/keys/check", &shown).await.status(), 405);
    assert!(upstream.requests().is_empty());

    let (first, second) = tokio::join!(post(&shown), async {
        upstream.request(1).await;
        post(&shown).await
    });
    assert_eq!(second.status(), 409, "one check at a time");
    assert_eq!(first.status(), 200, "{}", first.text());
    let rows = http::get(keymux.admin_address(), "/keys", &shown).await.json();
    assert_eq!(rows, first.json());
    let found: Vec<_> = rows.as_array().unwrap().iter().map(|row| &row["checks"]).collect();
    assert_eq!(found[0][0]["result"], "ok");
    assert_eq!(found[1][0]["result"], "bad_credential");
    assert_eq!(found[1][0]["detail"], "401 wrong_key");
    assert!(found[1][0]["at"].as_str().unwrap().ends_with('Z'), "{rows}");
    assert_eq!(found[2], &Value::Null);
    assert_eq!(rows[1]["state"], "unknown", "requests are not kept from a key by it");
    assert_eq!(upstream.requests().len(), 2);
}
