//! Clouds whose requests carry tokens: the program with fake issuers, its errors and its logs.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::{config, key, provider};
use common::google::service_account;
use common::http::{self, Reply};
use common::keymux::Keymux;
use common::upstream::{Step, Upstream, answer, chat_answer, json_answer};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

/// Random characters, so that no part of them matches by chance.
const CLIENT_SECRET: &str = "Gx5Mv8Cq2Zt7Pk4Wy9Jb";
const ENTRA_TOKEN: &str = "Kf3Yz6Qn9Xd2Vw7Tg5Rp";
const GOOGLE_TOKEN: &str = "Jm9Bq4Xk7Wz3Gd6Yv2Tn";

fn token(text: &str) -> Vec<Step> {
    let body = json!({ "access_token": text, "token_type": "Bearer", "expires_in": 3600 });
    json_answer(200, &body)
}

/// Returns an azure provider whose key uses this issuer and this resource.
fn azure(issuer: &Upstream, resource: &Upstream) -> String {
    format!(
        "[[providers.azure.keys]]\nname = \"entra\"\n[providers.azure.keys.azure_key_config]\n\
         endpoint = \"{}\"\nauthority_host = \"{}\"\ntenant_id = \"contoso\"\nclient_id = \"me\"\n\
         client_secret = \"{CLIENT_SECRET}\"\n",
        resource.url(),
        issuer.url()
    )
}

/// Returns a vertex provider with a service account that uses this issuer, and the account's private key.
fn vertex(issuer: &Upstream, endpoint: &Upstream) -> (String, String) {
    let (account, private) = service_account(&issuer.url());
    let text = format!(
        "[providers.vertex]\nbase_url = \"{}\"\n[[providers.vertex.keys]]\nname = \"account\"\n\
         [providers.vertex.keys.vertex_key_config]\nregion = \"global\"\n\
         auth_credentials = '''{account}'''\n",
        endpoint.url()
    );
    (text, private)
}

async fn send(keymux: &Keymux, model: &str) -> Reply {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": "hello" }] });
    http::post(keymux.address(), "/v1/chat/completions", &[], &body).await
}

#[tokio::test]
async fn no_part_of_a_token_or_its_credential_is_logged_at_any_level() {
    let entra = Upstream::start(|_| token(ENTRA_TOKEN)).await;
    let google = Upstream::start(|_| token(GOOGLE_TOKEN)).await;
    // Echoes the credential, as some providers do.
    let echoing = Upstream::start(|request| {
        let authorization = request.header("authorization").unwrap_or_default();
        match request.json()["model"].as_str().unwrap() {
            "fine" => chat_answer("hello"),
            _ => answer(
                401,
                &[],
                json!({ "error": { "message": authorization } }).to_string().as_bytes(),
            ),
        }
    });
    let echoing = echoing.await;
    let (vertex, private) = vertex(&google, &echoing);
    let text = config("", &[azure(&entra, &echoing), vertex]);
    let keymux =
        Keymux::start(&text, &[("KEYMUX_LOG", "trace,yup_oauth2::service_account=trace")]).await;
    for provider in ["azure", "vertex"] {
        let reply = send(&keymux, &format!("{provider}/fine")).await;
        assert_eq!(reply.status(), 200, "{}", reply.text());
        let reply = send(&keymux, &format!("{provider}/wrong")).await;
        assert_eq!(reply.status(), 401);
        assert_eq!(reply.json()["error"]["message"], "Bearer ***");
    }
    let authorizations: Vec<_> =
        echoing.requests().iter().map(|r| r.header("authorization").unwrap().to_owned()).collect();
    assert!(authorizations.contains(&format!("Bearer {ENTRA_TOKEN}")), "{authorizations:?}");
    assert!(authorizations.contains(&format!("Bearer {GOOGLE_TOKEN}")), "{authorizations:?}");
    let output = keymux.log_with("vertex/wrong").await
        + &keymux.admin("/metrics").await.text()
        + &keymux.admin("/config").await.text();
    for secret in [CLIENT_SECRET, ENTRA_TOKEN, GOOGLE_TOKEN, &private[40..200]] {
        for start in 0..=secret.len() - 6 {
            let piece = &secret[start..start + 6];
            assert!(!output.contains(piece), "{piece} in\n{output}");
        }
    }
}

#[tokio::test]
async fn a_reload_keeps_the_token_unless_the_secret_changes() {
    let issuer = Upstream::start(|_| token(ENTRA_TOKEN)).await;
    let resource = Upstream::always(chat_answer("hello")).await;
    let text = config("", &[azure(&issuer, &resource)]);
    let keymux = Keymux::start(&text, &[]).await;
    assert_eq!(send(&keymux, "azure/m").await.status(), 200);
    keymux.rewrite(&text.replace("name = \"entra\"", "name = \"renamed\"\nweight = 5"));
    keymux.signal(Signal::HUP);
    keymux.log_with("configuration reloaded").await;
    let reply = send(&keymux, "azure/m").await;
    assert_eq!(reply.header("x-keymux-key"), Some("renamed"));
    assert_eq!(issuer.requests().len(), 1);
    keymux.rewrite(&text.replace(CLIENT_SECRET, "another"));
    keymux.signal(Signal::HUP);
    issuer.request(1).await;
    assert_eq!(send(&keymux, "azure/m").await.status(), 200);
    assert_eq!(issuer.requests().len(), 2);
}

#[tokio::test]
async fn an_issuer_that_refuses_disables_its_key_and_fails_no_request() {
    let error = json!({ "error": "invalid_client", "error_codes": [7_000_215] });
    let issuer = Upstream::always(json_answer(401, &error)).await;
    let resource = Upstream::always(chat_answer("hello")).await;
    let other = format!(
        "[[providers.azure.keys]]\nname = \"by-key\"\nweight = 0\nvalue = \"a-key-of-azure\"\n\
         azure_key_config = {{ endpoint = \"{}\" }}\n",
        resource.url()
    );
    let alone = config("", &[azure(&issuer, &resource)]);
    let keymux = Keymux::start(&alone, &[]).await;
    keymux.log_with("invalid_client (AADSTS7000215)").await;
    let reply = send(&keymux, "azure/m").await;
    assert_eq!(reply.status(), 502);
    assert!(reply.text().contains("the token issuer rejected"), "{}", reply.text());
    assert!(resource.requests().is_empty());

    let keymux = Keymux::start(&config("", &[azure(&issuer, &resource), other]), &[]).await;
    for _ in 0..5 {
        let reply = send(&keymux, "azure/m").await;
        assert_eq!((reply.status(), reply.header("x-keymux-key")), (200, Some("by-key")));
    }
}

#[tokio::test]
async fn an_issuer_that_hangs_delays_no_other_provider() {
    let silent = Upstream::always(vec![Step::Hang]).await;
    let fine = Upstream::always(chat_answer("hello")).await;
    let (vertex, _) = vertex(&silent, &fine);
    let other = provider("other", &fine, "", &[key("only", "")]);
    let route =
        "[routes.either]\ntargets = [{ model = \"vertex/m\" }]\nfallbacks = [\"other/m\"]\n";
    let text = config("", &[azure(&silent, &fine), vertex, other, route.to_owned()]);
    let keymux = Keymux::start(&text, &[]).await;
    silent.request(1).await;
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(send(&keymux, "other/m").await.status(), 200);
    }
    assert!(began.elapsed() < Duration::from_secs(2));
    // After the first fetch has timed out, no request waits for the next.
    keymux.log_with("did not answer in time").await;
    let began = Instant::now();
    let reply = send(&keymux, "either").await;
    assert_eq!((reply.status(), reply.header("x-keymux-provider")), (200, Some("other")));
    assert!(began.elapsed() < Duration::from_secs(2));
}
