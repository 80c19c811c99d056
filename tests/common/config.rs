//! The configurations of most tests: both listeners, and providers that are [`Upstream`]s.

use super::upstream::{Received, Upstream};

/// A configuration of both listeners, with more settings of `[server]` and whatever else.
pub fn config(server: &str, rest: &[String]) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:{{PORT}}\"\n{server}\n\
         [admin]\nlisten = \"127.0.0.1:{{ADMIN}}\"\n\n{}",
        rest.join("\n")
    )
}

/// A provider that speaks the OpenAI API under `/v1`, with more settings of its own.
pub fn provider(name: &str, upstream: &Upstream, settings: &str, keys: &[String]) -> String {
    format!(
        "[providers.{name}]\nkind = \"openai-compatible\"\nbase_url = \"{}/v1\"\n{settings}\n{}",
        upstream.url(),
        keys.iter()
            .map(|key| format!("[[providers.{name}.keys]]\n{key}"))
            .collect::<Vec<_>>()
            .concat()
    )
}

/// A key, with more settings of its own.
pub fn key(name: &str, settings: &str) -> String {
    format!("name = \"{name}\"\nvalue = \"{}\"\n{settings}\n", secret(name))
}

/// The credential of a [`key`].
pub fn secret(name: &str) -> String {
    format!("sk-{name}-7f3a9c2e51b8")
}

/// A client whose key is `client-NAME`, with more settings of its own.
pub fn client(name: &str, settings: &str) -> String {
    format!("[[clients]]\nname = \"{name}\"\nkey = \"client-{name}\"\n{settings}\n")
}

/// One provider `main` with one key `only`.
pub fn one_key(upstream: &Upstream) -> String {
    config("", &[provider("main", upstream, "", &[key("only", "")])])
}

/// A provider of a kind whose `base_url` is the bare origin, with more settings of its own.
pub fn native(
    name: &str,
    kind: &str,
    upstream: &Upstream,
    settings: &str,
    keys: &[String],
) -> String {
    let mut text = format!(
        "[providers.{name}]\nkind = \"{kind}\"\nbase_url = \"{}\"\n{settings}\n",
        upstream.url()
    );
    for key in keys {
        text.extend([&format!("[[providers.{name}.keys]]\n"), key].map(String::as_str));
        if kind == "bedrock" {
            text.push_str("bedrock_key_config = { region = \"us-east-1\" }\n");
        }
    }
    text
}

/// The name of the [`key`] that a request carries, in the header of whichever API; empty: none.
pub fn name_of_key(request: &Received) -> String {
    let headers = ["authorization", "x-api-key", "x-goog-api-key"];
    let credential = headers.iter().find_map(|name| request.header(name)).unwrap_or_default();
    let credential = credential.strip_prefix("Bearer ").unwrap_or(credential);
    let name = credential.strip_prefix("sk-").and_then(|rest| rest.strip_suffix("-7f3a9c2e51b8"));
    name.unwrap_or_default().to_owned()
}

/// The names of the keys that a provider was asked with, in order of arrival.
pub fn keys_asked(upstream: &Upstream) -> Vec<String> {
    upstream.requests().iter().map(name_of_key).collect()
}
