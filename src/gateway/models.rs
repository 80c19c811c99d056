//! The models list: what the configuration names, as far as this client may have it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::Gateway;
use super::answer::Refusal;
use crate::config::{Client, ResolvedModel};
use crate::keys::verdict;
use crate::route::{self, Target};
use crate::wire::Api;

/// `GET /v1/models` in the caller's shape: the routes, then each model that a provider's keys name, as
/// `provider/model`. Patterns name no model and are left out.
pub(super) fn list(gateway: &Gateway, client: Option<&Client>, api: Api) -> Value {
    let config = &gateway.config;
    let mut names: Vec<(String, &str)> =
        config.routes.iter().map(|route| (route.name.to_string(), "keymux")).collect();
    for provider in &config.providers {
        let mut models: Vec<&str> = provider
            .keys
            .iter()
            .filter(|key| key.enabled)
            .flat_map(|key| {
                let listed = key.models.iter().flatten().filter_map(|pattern| pattern.exact());
                listed.chain(key.deployments.keys().map(String::as_str))
            })
            .collect();
        models.sort_unstable();
        models.dedup();
        names.extend(models.iter().map(|m| (format!("{}/{m}", provider.name), &*provider.name)));
    }
    names.retain(|(name, _)| may_use(gateway, client, name));
    let shown: Vec<Value> = names.iter().map(|(name, owner)| shape(api, name, owner)).collect();
    match api {
        Api::Anthropic => json!({
            "data": shown,
            "has_more": false,
            "first_id": names.first().map(|(name, _)| name),
            "last_id": names.last().map(|(name, _)| name),
        }),
        Api::Gemini => json!({"models": shown}),
        // The other APIs have no list of this kind.
        _ => json!({"object": "list", "data": shown}),
    }
}

/// `GET /v1/models/{id}`: any name that this client may ask for, listed or not. `id` is as the path has
/// it: SDKs write the `/` of `provider/model` as `%2F`.
pub(super) fn one(
    gateway: &Gateway,
    client: Option<&Client>,
    api: Api,
    id: &str,
) -> Result<Value, Refusal> {
    let id = &*decoded(id);
    let asked = gateway.config.resolve_model(id).map_err(Refusal::NotFound)?;
    if !may_use(gateway, client, id) {
        return Err(Refusal::NoKeyOpen(id.to_owned()));
    }
    let owner = match asked {
        ResolvedModel::Route(_) => "keymux",
        ResolvedModel::Model { provider, .. } => &gateway.config.providers[provider].name,
    };
    Ok(shape(api, id, owner))
}

/// Whether a request of this client for this name would find a key.
fn may_use(gateway: &Gateway, client: Option<&Client>, name: &str) -> bool {
    let config = &gateway.config;
    let Ok(asked) = config.resolve_model(name) else { return false };
    if client.is_some_and(|client| route::authorize_model(client, config, name, &asked).is_err()) {
        return false;
    }
    let open = |hop: Target<'_>| {
        client.is_none_or(|client| route::is_target_allowed(client, config, hop))
            && config.providers[hop.provider]
                .keys
                .iter()
                .any(|key| verdict(key, client.map(|client| &*client.name), hop.model).is_ok())
    };
    match asked {
        ResolvedModel::Model { provider, model } => open(Target { provider, model }),
        ResolvedModel::Route(route) => route
            .targets
            .iter()
            .chain(&route.fallbacks)
            .any(|target| open(Target { provider: target.provider, model: &target.model })),
    }
}

/// What does not decode to text is left as it is, and is no model's name.
fn decoded(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8().unwrap_or(segment.into())
}

/// The files say nothing of when a model was made, so its time is the beginning of time.
fn shape(api: Api, name: &str, owner: &str) -> Value {
    match api {
        Api::Anthropic => json!({
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": "1970-01-01T00:00:00Z",
        }),
        Api::Gemini => json!({"name": format!("models/{name}"), "displayName": name}),
        _ => json!({"id": name, "object": "model", "created": 0, "owned_by": owner}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_path_is_decoded() {
        for (segment, name) in [
            ("openai/gpt-4o", "openai/gpt-4o"),
            ("openai%2Fgpt-4o", "openai/gpt-4o"),
            ("a%2fb%3A%C3%BC", "a/b:ü"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("%+1", "%+1"),
            ("%FF", "%FF"),
            ("%é", "%é"),
            ("", ""),
        ] {
            assert_eq!(decoded(segment), name, "{segment}");
        }
    }
}
