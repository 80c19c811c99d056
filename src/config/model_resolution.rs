//! Which provider a model name means.

use std::fmt;
use std::sync::Arc;

use super::pattern::any_matches;
use super::{Config, Key, Provider, Route};

/// What a model name means.
#[derive(Clone, Copy, Debug)]
pub enum ResolvedModel<'c, 'm> {
    /// A name of the file's own.
    Route(&'c Route),
    /// A model at a provider.
    Model {
        /// Place in [`Config::providers`].
        provider: usize,
        /// The model asked of that provider.
        model: &'m str,
    },
}

/// No provider, or more than one, answers to a model name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelNotFound {
    asked: String,
    why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    Empty,
    /// These list or deploy it.
    Listed(Vec<Arc<str>>),
    /// These take any model.
    TakeAny(Vec<Arc<str>>),
    /// Nobody does; what stands before the first `/` is no provider.
    Nobody {
        prefix: Option<String>,
    },
}

impl Config {
    /// What the model name means: a route; `provider/model`; a bare name that one provider's keys
    /// list or deploy; else the one provider whose keys take any model. Does not allocate unless
    /// nothing is found.
    pub fn resolve_model<'c, 'm>(
        &'c self,
        asked: &'m str,
    ) -> Result<ResolvedModel<'c, 'm>, ModelNotFound> {
        if let Ok(place) = self.routes.binary_search_by(|route| (*route.name).cmp(asked)) {
            return Ok(ResolvedModel::Route(&self.routes[place]));
        }
        model(&self.providers, asked)
            .map(|(provider, model)| ResolvedModel::Model { provider, model })
    }
}

impl Key {
    /// Whether the key may be asked for the model: deny wins over allow.
    pub fn allows(&self, model: &str) -> bool {
        let (region, model) = self.region_and_model(model);
        self.has_region(region)
            && !any_matches(&self.blacklisted_models, model)
            && self.models.as_deref().is_none_or(|models| any_matches(models, model))
    }

    /// The name under which the provider knows the model, where the key says so. Case counts only
    /// when two names differ in nothing else.
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

    /// Whether the key names the model, one by one or by a pattern.
    fn lists(&self, model: &str) -> bool {
        let (_, bare) = self.region_and_model(model);
        let named =
            self.models.iter().flatten().any(|pattern| !pattern.is_any() && pattern.matches(bare));
        self.enabled && (named || self.deployment(model).is_some()) && self.allows(model)
    }

    /// Whether the key takes whatever model is asked for.
    fn takes_any(&self, model: &str) -> bool {
        let any =
            self.models.as_deref().is_none_or(|models| models.iter().any(super::Pattern::is_any));
        self.enabled && any && self.allows(model)
    }
}

/// The provider and the model asked of it. Providers are in the order of their names.
pub(super) fn model<'m>(
    providers: &[Provider],
    asked: &'m str,
) -> Result<(usize, &'m str), ModelNotFound> {
    let not_found = |why| Err(ModelNotFound { asked: asked.to_owned(), why });
    if asked.is_empty() {
        return not_found(Why::Empty);
    }
    let (prefix, rest) = asked.split_once('/').unzip();
    if let (Some(prefix), Some(rest)) = (prefix, rest)
        && let Ok(provider) = providers.binary_search_by(|provider| (*provider.name).cmp(prefix))
    {
        return if rest.is_empty() { not_found(Why::Empty) } else { Ok((provider, rest)) };
    }
    let only = |serves: &dyn Fn(&Key) -> bool| {
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
    match only(&|key| key.lists(asked)) {
        Ok(Some(provider)) => return Ok((provider, asked)),
        Ok(None) => {}
        Err(names) => return not_found(Why::Listed(names)),
    }
    match only(&|key| key.takes_any(asked)) {
        Ok(Some(provider)) => Ok((provider, asked)),
        Ok(None) => not_found(Why::Nobody { prefix: prefix.map(str::to_owned) }),
        Err(names) => not_found(Why::TakeAny(names)),
    }
}

impl ModelNotFound {
    /// Whether nobody has the model, as against several or none being asked for.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.why, Why::Nobody { .. })
    }
}

impl fmt::Display for ModelNotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = short(&self.asked);
        match &self.why {
            Why::Empty => write!(f, "no model is named"),
            Why::Listed(names) => {
                write!(
                    f,
                    "`{asked}` is listed by {}: ask for provider/model, such as {}/{asked}",
                    and(names),
                    names[0]
                )
            }
            Why::TakeAny(names) => {
                write!(
                    f,
                    "no key lists `{asked}`, and {} take any model: ask for provider/model, such as {}/{asked}",
                    and(names),
                    names[0]
                )
            }
            Why::Nobody { prefix: Some(prefix) } => {
                write!(
                    f,
                    "`{asked}` is no route, `{}` is no provider, no key lists the model, and no provider takes any",
                    short(prefix)
                )
            }
            Why::Nobody { prefix: None } => {
                write!(
                    f,
                    "`{asked}` is no route, no key lists the model, and no provider takes any"
                )
            }
        }
    }
}

impl std::error::Error for ModelNotFound {}

/// As much of a caller's text as an error message should repeat.
fn short(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}

fn and(names: &[Arc<str>]) -> String {
    match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        names => names.join(", "),
    }
}
