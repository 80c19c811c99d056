//! The models list, from the configuration, with the models that this client may use.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::config::{Client, ResolvedModel};
use crate::gateway::Gateway;
use crate::gateway::response::refusal::Refusal;
use crate::keys::eligibility;
use crate::route;
use crate::route::Target;
use crate::wire::api::Api;

/// Returns the response to `GET /v1/models` in the caller's format: the routes, then each model that the keys of a
/// provider name, as `provider/model`. Patterns are left out, since they name no model.
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
    let models: Vec<Value> =
        names.iter().map(|(name, owner)| model_object(api, name, owner)).collect();
    match api {
        Api::Anthropic => json!({
            "data": models,
            "has_more": false,
            "first_id": names.first().map(|(name, _)| name),
            "last_id": names.last().map(|(name, _)| name),
        }),
        Api::Gemini => json!({"models": models}),
        // The other APIs have no such list.
        _ => json!({"object": "list", "data": models}),
    }
}

/// Returns the response to `GET /v1/models/{id}`, for any name that this client may use, listed or not. `id` is as
/// the path contains it: SDKs write the `/` of `provider/model` as `%2F`.
pub(super) fn get(
    gateway: &Gateway,
    client: Option<&Client>,
    api: Api,
    id: &str,
) -> Result<Value, Refusal> {
    let id = &*percent_decoded(id);
    let resolved = gateway.config.resolve_model(id).map_err(Refusal::NotFound)?;
    if !may_use(gateway, client, id) {
        return Err(Refusal::NoKeyForClient(id.to_owned()));
    }
    let owner = match resolved {
        ResolvedModel::Route(_) => "keymux",
        ResolvedModel::Model { provider, .. } => &gateway.config.providers[provider].name,
    };
    Ok(model_object(api, id, owner))
}

/// Returns true if a request of this client for this name would find a key.
fn may_use(gateway: &Gateway, client: Option<&Client>, name: &str) -> bool {
    let config = &gateway.config;
    let Ok(resolved) = config.resolve_model(name) else { return false };
    if client.is_some_and(|client| route::authorize_model(client, config, name, &resolved).is_err())
    {
        return false;
    }
    let has_key = |target: Target<'_>| {
        client.is_none_or(|client| route::is_target_allowed(client, config, target))
            && config.providers[target.provider].keys.iter().any(|key| {
                eligibility(key, client.map(|client| &*client.name), target.model).is_ok()
            })
    };
    match resolved {
        ResolvedModel::Model { provider, model } => has_key(Target { provider, model }),
        ResolvedModel::Route(route) => route
            .targets
            .iter()
            .chain(&route.fallbacks)
            .any(|target| has_key(Target { provider: target.provider, model: &target.model })),
    }
}

/// Decodes a path segment. One that does not decode to UTF-8 stays as it is, and is no model's name.
fn percent_decoded(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8().unwrap_or(segment.into())
}

/// The configuration has no creation time of a model, so it is the Unix epoch.
fn model_object(api: Api, name: &str, owner: &str) -> Value {
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
    fn a_model_name_in_a_path_is_percent_decoded() {
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
            assert_eq!(percent_decoded(segment), name, "{segment}");
        }
    }
}
