//! Finds the provider of a requested model.

use std::fmt;
use std::sync::Arc;

use super::pattern::any_matches;
use super::{Config, Key, Provider, Route};

/// The route or the provider's model that a requested model name stands for.
#[derive(Clone, Copy, Debug)]
pub enum ResolvedModel<'c, 'm> {
    /// A route of the file.
    Route(&'c Route),
    /// A model of a provider.
    Model {
        /// Index in [`Config::providers`].
        provider: usize,
        /// The model requested from that provider.
        model: &'m str,
    },
}

/// No provider, or more than one, matches a requested model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelNotFound {
    requested: String,
    reason: NotFoundReason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum NotFoundReason {
    Empty,
    /// Several providers list or deploy it.
    Listed(Vec<Arc<str>>),
    /// Several providers accept any model.
    AcceptAny(Vec<Arc<str>>),
    /// No provider matches; `prefix`, the part before the first `/`, is not a provider.
    NoProvider {
        prefix: Option<String>,
    },
}

impl Config {
    /// Resolves a requested model, in this order: a route; `provider/model`; a bare name that the keys of
    /// exactly one provider list or deploy; the only provider with keys that accept any model. Does not
    /// allocate unless nothing is found.
    pub fn resolve_model<'c, 'm>(
        &'c self,
        requested: &'m str,
    ) -> Result<ResolvedModel<'c, 'm>, ModelNotFound> {
        if let Ok(index) = self.routes.binary_search_by(|route| (*route.name).cmp(requested)) {
            return Ok(ResolvedModel::Route(&self.routes[index]));
        }
        resolve_provider(&self.providers, requested)
            .map(|(provider, model)| ResolvedModel::Model { provider, model })
    }
}

impl Key {
    /// True if the key may serve the model. `blacklisted_models` wins over `models`.
    pub fn allows(&self, model: &str) -> bool {
        let (region, model) = self.region_and_model(model);
        self.has_region(region)
            && !any_matches(&self.blacklisted_models, model)
            && self.models.as_deref().is_none_or(|models| any_matches(models, model))
    }

    /// Returns the model name to send to the provider, if `deployments` maps the model. Ignores case, unless
    /// a name matches exactly.
    pub fn deployment(&self, model: &str) -> Option<&str> {
        let (_, model) = self.region_and_model(model);
        let exact = self.deployments.get(model);
        let any_case = || {
            self.deployments
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(model))
                .map(|(_, deployment)| deployment)
        };
        exact.or_else(any_case).map(String::as_str)
    }

    /// True if the key lists the model by name or pattern, or deploys it.
    fn lists(&self, model: &str) -> bool {
        let (_, bare) = self.region_and_model(model);
        let is_listed =
            self.models.iter().flatten().any(|pattern| !pattern.is_any() && pattern.matches(bare));
        self.enabled && (is_listed || self.deployment(model).is_some()) && self.allows(model)
    }

    /// True if the key accepts any model.
    fn accepts_any(&self, model: &str) -> bool {
        let any =
            self.models.as_deref().is_none_or(|models| models.iter().any(super::Pattern::is_any));
        self.enabled && any && self.allows(model)
    }
}

/// Returns the provider and the model to request from it. Providers are sorted by name.
pub(super) fn resolve_provider<'m>(
    providers: &[Provider],
    requested: &'m str,
) -> Result<(usize, &'m str), ModelNotFound> {
    let not_found = |reason| Err(ModelNotFound { requested: requested.to_owned(), reason });
    if requested.is_empty() {
        return not_found(NotFoundReason::Empty);
    }
    let (prefix, rest) = requested.split_once('/').unzip();
    if let (Some(prefix), Some(rest)) = (prefix, rest)
        && let Ok(provider) = providers.binary_search_by(|provider| (*provider.name).cmp(prefix))
    {
        return if rest.is_empty() {
            not_found(NotFoundReason::Empty)
        } else {
            Ok((provider, rest))
        };
    }
    let only_provider = |serves: &dyn Fn(&Key) -> bool| {
        let mut serving = providers
            .iter()
            .enumerate()
            .filter(|(_, provider)| provider.keys.iter().any(|key| serves(key)));
        match (serving.next(), serving.next()) {
            (Some((provider, _)), None) => Ok(Some(provider)),
            (None, _) => Ok(None),
            (Some((_, first)), Some((_, second))) => {
                let rest = serving.map(|(_, provider)| provider.name.clone());
                Err([first.name.clone(), second.name.clone()].into_iter().chain(rest).collect())
            }
        }
    };
    match only_provider(&|key| key.lists(requested)) {
        Ok(Some(provider)) => return Ok((provider, requested)),
        Ok(None) => {}
        Err(names) => return not_found(NotFoundReason::Listed(names)),
    }
    match only_provider(&|key| key.accepts_any(requested)) {
        Ok(Some(provider)) => Ok((provider, requested)),
        Ok(None) => not_found(NotFoundReason::NoProvider { prefix: prefix.map(str::to_owned) }),
        Err(names) => not_found(NotFoundReason::AcceptAny(names)),
    }
}

impl ModelNotFound {
    /// True if no provider matches; false if several do, or if the name is empty.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.reason, NotFoundReason::NoProvider { .. })
    }
}

impl fmt::Display for ModelNotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requested = short(&self.requested);
        match &self.reason {
            NotFoundReason::Empty => write!(f, "the model name is empty"),
            NotFoundReason::Listed(names) => {
                write!(
                    f,
                    "`{requested}` is listed by {}: request provider/model, such as {}/{requested}",
                    join_names(names),
                    names[0]
                )
            }
            NotFoundReason::AcceptAny(names) => {
                write!(
                    f,
                    "no key lists `{requested}`, and {} accept any model: request provider/model, such as {}/{requested}",
                    join_names(names),
                    names[0]
                )
            }
            NotFoundReason::NoProvider { prefix: Some(prefix) } => {
                write!(
                    f,
                    "`{requested}` is not a route, `{}` is not a provider, no key lists the model, and no provider accepts any model",
                    short(prefix)
                )
            }
            NotFoundReason::NoProvider { prefix: None } => {
                write!(
                    f,
                    "`{requested}` is not a route, no key lists the model, and no provider accepts any model"
                )
            }
        }
    }
}

impl std::error::Error for ModelNotFound {}

/// Shortens and escapes a caller's text for an error message.
fn short(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}

fn join_names(names: &[Arc<str>]) -> String {
    match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        names => names.join(", "),
    }
}
