//! A parsed request, for which targets and keys are tried.

use std::sync::OnceLock;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use crate::config::Client;
use crate::gateway::{Gateway, KeyIndex};
use crate::keys::{KeyRequest, KeyState};
use crate::provider::{Conversion, Kind};
use crate::route;
use crate::route::{Plan, Target};
use crate::upstream::RequestKind;
use crate::wire::api::Format;
use crate::wire::ir::Request;
use crate::wire::json::fields::Rejected;

/// English text has about four bytes per token, and JSON around it adds little
/// (<https://platform.openai.com/tokenizer>). The tokens of the response are not known in advance.
const BYTES_PER_TOKEN: u64 = 4;

/// A parsed request.
pub(crate) struct Call<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) client: Option<&'a Client>,
    pub(crate) what: RequestKind<'a>,
    /// The model as the caller names it.
    pub(crate) requested_model: &'a str,
    /// The format of the body, if it is another than that of the operation.
    pub(crate) body_format: Option<Format>,
    pub(crate) decoded: DecodedRequest,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
    /// The only key that can serve the request, because it owns an object in it.
    pub(crate) pinned_key: Option<KeyIndex>,
    /// Unix time in seconds.
    pub(crate) now: u64,
}

/// The request decoded from the caller's format. It is decoded at most once, for the first target of another
/// format.
#[derive(Debug, Default)]
pub(crate) struct DecodedRequest(pub(super) OnceLock<Result<Request, Rejected>>);

impl Call<'_> {
    /// Returns how a target's provider serves the operation.
    pub(super) fn conversion(&self, target: Target<'_>) -> Conversion {
        let kind = self.gateway.config.providers[target.provider].kind;
        kind.conversion(self.what.operation(), self.body_format, self.model_names(target))
    }

    /// Returns the target's model, and the provider's own name of it.
    pub(super) fn model_names<'h>(&'h self, target: Target<'h>) -> [&'h str; 2] {
        let keys = &self.gateway.config.providers[target.provider].keys;
        let deployed = keys.iter().find_map(|key| key.deployment(target.model));
        [target.model, deployed.unwrap_or(target.model)]
    }

    /// Returns what the request needs of a key.
    pub(super) fn want<'h>(&'h self, target: Target<'h>) -> KeyRequest<'h> {
        let tokens = (self.body.len() as u64).div_ceil(BYTES_PER_TOKEN);
        KeyRequest { client: self.client_name(), model: target.model, tokens }
    }

    /// Returns `provider/key`.
    pub(super) fn key_name(&self, target: Target<'_>, key: usize) -> String {
        let provider = &self.gateway.config.providers[target.provider];
        format!("{}/{}", provider.name, provider.keys[key].name)
    }

    pub(super) fn client_name(&self) -> Option<&str> {
        self.client.map(|client| &*client.name)
    }

    /// Returns true if the caller requests a stream.
    pub(super) fn streams(&self) -> bool {
        self.what.streams()
    }

    /// Returns the target's keys that allow this request, with their state.
    pub(super) fn key_states(&self, target: Target<'_>, now: Instant) -> Vec<(usize, KeyState)> {
        let pool = &self.gateway.providers[target.provider].pool;
        let mut states = pool.eligible_keys(self.want(target), now.into_std());
        states.retain(|(key, _)| self.pinned_key.is_none_or(|pinned| pinned.key == *key));
        states
    }

    /// Returns the targets that support the operation and that the client may use.
    pub(super) fn targets<'p>(&'p self, plan: &Plan<'p>) -> impl Iterator<Item = Target<'p>> {
        plan.clone().filter(|target| self.can_use(*target))
    }

    fn can_use(&self, target: Target<'_>) -> bool {
        let config = &self.gateway.config;
        self.conversion(target) != Conversion::Unsupported
            && self.pinned_key.is_none_or(|pinned| pinned.provider == target.provider)
            && self.client.is_none_or(|client| route::is_target_allowed(client, config, target))
    }

    /// Returns the last provider of the plan that does not support the operation.
    pub(super) fn unsupported_provider(&self, plan: Plan<'_>) -> Option<(usize, Kind)> {
        let target =
            plan.filter(|target| self.conversion(*target) == Conversion::Unsupported).last()?;
        Some((target.provider, self.gateway.config.providers[target.provider].kind))
    }
}
