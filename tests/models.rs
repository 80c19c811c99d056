//! The models list: from the configuration, filtered by client, in three formats.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use common::config::{client, config, key, provider};
use common::http::{self, Reply};
use common::keymux::Keymux;
use common::upstream::{Upstream, chat_answer};
use serde_json::{Value, json};

const BEARER_ALL: (&str, &str) = ("authorization", "Bearer client-all");
const BEARER_FEW: (&str, &str) = ("authorization", "Bearer client-few");

async fn start() -> (Keymux, Upstream) {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let listing = [
        key("a", "models = [\"gpt-4o\", \"gpt-4*\", \"org/llama:free\"]"),
        key("b", "models = [\"gpt-4o\", \"o3\"]\nblacklisted_models = [\"o3\"]"),
        key("c", "models = [\"hidden\"]\nenabled = false"),
        key("d", "models = [\"private\"]\nclients = [\"few\"]"),
    ];
    let parts = [
        client("all", ""),
        client("few", "models = [\"fast\", \"listing/private\", \"org/*\"]"),
        provider("listing", &upstream, "", &listing),
        "[providers.echo]\n[[providers.echo.keys]]\nname = \"e\"\nmodels = [\"echo*\", \"a b*\"]\n"
            .to_owned(),
        "[routes.fast]\ntargets = [{ model = \"listing/gpt-4o\" }]\n".to_owned(),
        "[routes.theirs]\ntargets = [{ model = \"listing/private\" }]\n".to_owned(),
    ];
    (Keymux::start(&config("", &parts), &[]).await, upstream)
}

async fn get(keymux: &Keymux, path: &str, headers: &[(&str, &str)]) -> Reply {
    http::get(keymux.address(), path, headers).await
}

fn names(list: &Value, field: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_list_contains_the_models_of_this_client() {
    let (keymux, _upstream) = start().await;
    let all = get(&keymux, "/v1/models", &[BEARER_ALL]).await.json();
    assert_eq!(all["object"], "list");
    assert_eq!(names(&all["data"], "id"), ["fast", "listing/gpt-4o", "listing/org/llama:free"]);
    assert_eq!(
        all["data"][1],
        json!({"id": "listing/gpt-4o", "object": "model", "created": 0, "owned_by": "listing"})
    );
    let few = get(&keymux, "/v1/models", &[BEARER_FEW]).await.json();
    assert_eq!(names(&few["data"], "id"), ["fast", "listing/org/llama:free", "listing/private"]);
    assert_eq!(get(&keymux, "/v1/models", &[]).await.status(), 401);
}

#[tokio::test]
async fn the_list_has_the_format_of_the_callers_api() {
    let (keymux, _upstream) = start().await;
    let version = ("anthropic-version", "2023-06-01");
    let list = get(&keymux, "/v1/models", &[("x-api-key", "client-all"), version]).await.json();
    let ids = names(&list["data"], "id");
    assert_eq!(list["has_more"], false);
    assert_eq!((&list["first_id"], &list["last_id"]), (&json!(ids[0]), &json!(ids[2])));
    assert_eq!(list["data"][0]["type"], "model");
    assert!(
        list["data"][0]["display_name"].is_string() && list["data"][0]["created_at"].is_string()
    );

    let key = ("x-goog-api-key", "client-all");
    let list = get(&keymux, "/v1beta/models", &[key]).await.json();
    let expected = ["models/fast", "models/listing/gpt-4o", "models/listing/org/llama:free"];
    assert_eq!(names(&list["models"], "name"), expected);
}

#[tokio::test]
async fn a_model_is_found_by_any_name_that_a_request_could_use() {
    let (keymux, _upstream) = start().await;
    for (path, id, owner) in [
        ("/v1/models/fast", "fast", "keymux"),
        ("/v1/models/listing/gpt-4o", "listing/gpt-4o", "listing"),
        ("/v1/models/listing%2Fgpt-4o", "listing/gpt-4o", "listing"),
        ("/v1/models/listing%2forg%2Fllama%3Afree", "listing/org/llama:free", "listing"),
        ("/v1/models/gpt-4o", "gpt-4o", "listing"),
        ("/v1/models/echo%2Fecho", "echo/echo", "echo"),
        ("/v1/models/echo/a%20b%25", "echo/a b%", "echo"),
        ("/v1/models/listing/gpt-4-turbo", "listing/gpt-4-turbo", "listing"),
    ] {
        let reply = get(&keymux, path, &[BEARER_ALL]).await;
        assert_eq!(reply.status(), 200, "{path}: {}", reply.text());
        assert_eq!((&reply.json()["id"], &reply.json()["owned_by"]), (&json!(id), &json!(owner)));
    }
}

#[tokio::test]
async fn a_model_that_a_request_could_not_use_is_a_404() {
    let (keymux, _upstream) = start().await;
    for (path, bearer) in [
        ("/v1/models/listing/hidden", BEARER_ALL),
        ("/v1/models/listing/o3", BEARER_ALL),
        ("/v1/models/nowhere", BEARER_ALL),
        ("/v1/models/listing/private", BEARER_ALL),
        ("/v1/models/gpt-4o", BEARER_FEW),
        ("/v1/models/echo/echo", BEARER_FEW),
        ("/v1/models/%FF", BEARER_ALL),
        ("/v1/models/%", BEARER_ALL),
    ] {
        let reply = get(&keymux, path, &[bearer]).await;
        assert_eq!(reply.status(), 404, "{path}: {}", reply.text());
        assert_eq!(reply.json()["error"]["code"], "model_not_found", "{path}");
    }
}

#[tokio::test]
async fn a_presence_check_needs_no_key() {
    let (keymux, _upstream) = start().await;
    let mut caller = http::Connection::open(keymux.address()).await;
    caller.send(b"HEAD / HTTP/1.1\r\nhost: k\r\n\r\n").await;
    assert_eq!(caller.head().await.unwrap().status(), 200);
    caller.send(b"GET / HTTP/1.1\r\nhost: k\r\n\r\n").await;
    assert_eq!(caller.reply().await.status(), 200, "HEAD leaves no body behind");
}
