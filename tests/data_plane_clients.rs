//! Tests of clients: authentication, the models they may use, the keys that serve them.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use common::config::{client, config, key, provider, secret};
use common::http::{self, Reply};
use common::keymux::Keymux;
use common::upstream::{Upstream, answer, chat_answer};
use serde_json::json;

const CHAT: &str = "/v1/chat/completions";

async fn ask(keymux: &Keymux, headers: &[(&str, &str)], model: &str) -> Reply {
    http::post(keymux.address(), CHAT, headers, &json!({"model": model})).await
}

async fn ask_as(keymux: &Keymux, name: &str, model: &str) -> Reply {
    ask(keymux, &[("authorization", &format!("Bearer client-{name}"))], model).await
}

#[tokio::test]
async fn a_client_is_authenticated_by_the_key_header_of_any_api() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let digest = keymux::secret::sha256(b"client-hashed").map(|byte| format!("{byte:02x}"));
    let hashed = format!("[[clients]]\nname = \"hashed\"\nkey_sha256 = \"{}\"\n", digest.concat());
    let parts = [
        client("plain", ""),
        client("off", "enabled = false"),
        hashed,
        "[[clients]]\nname = \"env\"\nkey = { env_var = \"CLIENT\" }\n".to_owned(),
        provider("main", &upstream, "", &[key("only", "")]),
    ];
    let keymux = Keymux::start(&config("", &parts), &[("CLIENT", "client-env")]).await;
    for headers in [
        [("authorization", "Bearer client-plain")],
        [("Authorization", "bearer  client-plain")],
        [("x-api-key", "client-plain")],
        [("api-key", "client-plain")],
        [("x-goog-api-key", "client-plain")],
        [("authorization", "Bearer client-hashed")],
        [("authorization", "Bearer client-env")],
    ] {
        assert_eq!(ask(&keymux, &headers, "m").await.status(), 200, "{headers:?}");
    }
    let served = upstream.requests().len();
    let refused: [(&[(&str, &str)], &str); 10] = [
        (&[], "missing_api_key"),
        (&[("authorization", "")], "missing_api_key"),
        (&[("authorization", "Basic Y2xpZW50LXBsYWlu")], "missing_api_key"),
        (&[("authorization", "Bearer ")], "missing_api_key"),
        (&[("authorization", "Bearer client-plai")], "invalid_api_key"),
        (&[("authorization", "Bearer client-plainn")], "invalid_api_key"),
        (&[("authorization", "Bearer CLIENT-PLAIN")], "invalid_api_key"),
        (&[("authorization", "Bearer client-off")], "invalid_api_key"),
        (&[("x-api-key", "sk-only")], "invalid_api_key"),
        (&[("cookie", "client-plain")], "missing_api_key"),
    ];
    for (headers, code) in refused {
        let reply = ask(&keymux, headers, "m").await;
        assert_eq!(reply.status(), 401, "{headers:?}");
        assert_eq!(reply.json()["error"]["code"], code, "{headers:?}");
        assert_eq!(reply.header("x-should-retry"), Some("false"));
    }
    assert_eq!(upstream.requests().len(), served);
}

#[tokio::test]
async fn model_rules_of_a_client_apply_on_every_path() {
    let upstream = Upstream::start(|request| {
        let down = request.json()["model"] == "down";
        if down { answer(503, &[], b"{}") } else { chat_answer("hello") }
    })
    .await;
    let parts = [
        client("some", "models = [\"gpt-4o*\", \"fast\", \"main/o3\"]\nblacklisted_models = [\"*-mini\"]"),
        client("no-mini", "blacklisted_models = [\"gpt-4o-mini\"]"),
        client("no-second", "blacklisted_models = [\"second/*\"]"),
        provider("main", &upstream, "", &[key("only", "")]),
        provider("second", &upstream, "", &[key("only", "")]),
        "[routes.fast]\ntargets = [{ model = \"main/gpt-4o-mini\" }]\nfallbacks = [\"main/other\"]\n\
         [routes.mini]\ntargets = [{ model = \"main/gpt-4o-mini\" }]\n\
         [routes.back]\ntargets = [{ model = \"main/down\" }]\nfallbacks = [\"second/x\"]\n"
            .to_owned(),
    ];
    let keymux = Keymux::start(&config("", &parts), &[]).await;
    for (name, model, status) in [
        ("some", "main/gpt-4o", 200),
        ("some", "main/GPT-4o-2024", 200),
        ("some", "main/o3", 200),
        ("some", "second/o3", 404),
        ("some", "main/gpt-4o-mini", 404),
        ("some", "main/claude", 404),
        ("some", "mini", 404),
        ("no-mini", "main/anything", 200),
        ("no-mini", "main/gpt-4o-mini", 404),
        ("no-mini", "second/GPT-4O-MINI", 404),
        ("no-mini", "mini", 404),
        ("no-mini", "fast", 200),
        ("no-second", "second/x", 404),
        ("no-second", "back", 503),
        ("no-mini", "back", 200),
    ] {
        let reply = ask_as(&keymux, name, model).await;
        assert_eq!(reply.status(), status, "{name} {model}: {}", reply.text());
    }
    // A route with an allowed name does not give access to a model that is denied.
    ask_as(&keymux, "some", "fast").await;
    let asked: Vec<String> = upstream
        .requests()
        .iter()
        .map(|request| request.json()["model"].as_str().unwrap().to_owned())
        .collect();
    assert!(!asked.iter().any(|model| model.ends_with("mini")), "{asked:?}");
}

#[tokio::test]
async fn keys_for_named_clients_come_first_and_serve_no_others() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keys = [
        key("everyone", "weight = 1000"),
        key("for-a", "clients = [\"a\"]"),
        key("for-a-o3", "clients = [\"a\"]\nmodels = [\"o3\"]\nweight = 1000"),
        key("for-b", "clients = [\"b\"]\nmodels = [\"o3\"]"),
    ];
    let parts =
        [client("a", ""), client("b", ""), client("c", ""), provider("main", &upstream, "", &keys)];
    let keymux = Keymux::start(&config("", &parts), &[]).await;
    for (name, model, served_by) in [
        ("a", "m", "for-a"),
        ("a", "o3", "for-a-o3"),
        ("b", "m", "everyone"),
        ("b", "o3", "for-b"),
        ("c", "o3", "everyone"),
    ] {
        for _ in 0..5 {
            let reply = ask_as(&keymux, name, &format!("main/{model}")).await;
            assert_eq!(reply.header("x-keymux-key"), Some(served_by), "{name} {model}");
        }
    }
}

#[tokio::test]
async fn a_failing_key_of_a_client_does_not_fall_back_to_shared_keys() {
    let bad = format!("Bearer {}", secret("for-a"));
    let upstream = Upstream::start(move |request| {
        if request.header("authorization") == Some(&bad) {
            answer(429, &[], b"{}")
        } else {
            chat_answer("hello")
        }
    })
    .await;
    let keys = [key("everyone", ""), key("for-a", "clients = [\"a\"]")];
    let parts = [client("a", ""), client("b", ""), provider("main", &upstream, "", &keys)];
    let keymux = Keymux::start(&config("", &parts), &[]).await;
    let reply = ask_as(&keymux, "a", "main/m").await;
    assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (429, Some("1")));
    assert_eq!(ask_as(&keymux, "b", "main/m").await.status(), 200);
}

#[tokio::test]
async fn a_model_without_a_key_is_a_404() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keys = [
        key("a", "models = [\"gpt-4o*\"]\nblacklisted_models = [\"*-audio\"]"),
        key("b", "models = [\"o3\"]\nenabled = false"),
    ];
    let parts = [provider("main", &upstream, "", &keys)];
    let keymux = Keymux::start(&config("", &parts), &[]).await;
    for (model, status) in [
        ("gpt-4o-2024", 200),
        ("main/gpt-4o-2024", 200),
        ("main/gpt-4o-audio", 404),
        ("main/o3", 404),
        ("main/", 404),
        ("nobody/x", 404),
    ] {
        let reply = ask(&keymux, &[], model).await;
        assert_eq!(reply.status(), status, "{model}: {}", reply.text());
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn auth_none_serves_everyone_and_still_identifies_clients() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keys = [key("everyone", ""), key("for-a", "clients = [\"a\"]")];
    let parts = [client("a", ""), provider("main", &upstream, "", &keys)];
    let keymux = Keymux::start(&config("auth = \"none\"", &parts), &[]).await;
    let reply = ask_as(&keymux, "a", "m").await;
    assert_eq!(reply.header("x-keymux-key"), Some("for-a"));
    let reply = ask(&keymux, &[], "m").await;
    assert_eq!(reply.header("x-keymux-key"), Some("everyone"));
}
