//! `[routes.NAME]`

use std::collections::BTreeMap;

use super::report::Check;
use crate::config::model_resolution::{self, ModelNotFound};
use crate::config::path::{child, item};
use crate::config::schema_check::closest;
use crate::config::{Provider, Rescue, Route, RouteTarget, RouteTimeouts, file};

/// The settings that decide which keys can serve a model. If one of them was reported, targets cannot be
/// checked.
const MODEL_SETTINGS: [&str; 10] = [
    "keys",
    "enabled",
    "models",
    "blacklisted_models",
    "deployments",
    "azure_key_config",
    "vertex_key_config",
    "bedrock_key_config",
    "replicate_key_config",
    "model_name",
];

/// The names that targets can refer to.
struct KnownNames<'a> {
    providers: &'a [Provider],
    routes: Vec<String>,
}

impl Check<'_, '_> {
    pub(super) fn routes(
        &mut self,
        written: BTreeMap<String, file::Route>,
        providers: &[Provider],
    ) -> Vec<Route> {
        let known = KnownNames { providers, routes: written.keys().cloned().collect() };
        written.into_iter().map(|(name, route)| self.route(name, route, &known)).collect()
    }

    fn route(&mut self, name: String, written: file::Route, known: &KnownNames<'_>) -> Route {
        let file::Route { targets, fallbacks, timeouts, first_token, rescue } = written;
        let path = child("routes", &name);
        let at = |name: &str| child(&path, name);
        if name.is_empty() || name.chars().any(char::is_control) || name.trim() != name {
            self.error(
                &path,
                "this is not a valid model name",
                "a model name has no control characters, and no space at its ends",
            );
        }
        let list = at("targets");
        if targets.as_ref().is_some_and(Vec::is_empty) {
            self.error(
                &list,
                "`targets` is an empty list",
                "for example targets = [{ model = \"openai/gpt-4o-mini\" }]",
            );
        }
        let mut resolved = Vec::new();
        for (index, target) in targets.into_iter().flatten().enumerate() {
            let file::RouteTarget { model, weight } = target;
            let at = child(&item(&list, index), "model");
            resolved.extend(model.and_then(|model| self.target(&at, &model, weight, known)));
        }
        if !resolved.is_empty() && resolved.iter().all(|target| target.weight == 0.0) {
            self.warning(
                &list,
                "every target has weight 0, so every target is a standby target",
                None,
            );
        }
        let list = at("fallbacks");
        let fallbacks = fallbacks.iter().enumerate();
        let fallbacks = fallbacks
            .filter_map(|(index, model)| self.target(&item(&list, index), model, 1.0, known))
            .collect();
        Route {
            name: name.into(),
            targets: resolved,
            fallbacks,
            timeouts: timeouts.map_or_else(RouteTimeouts::default, |timeouts| {
                self.route_timeouts(&at("timeouts"), timeouts)
            }),
            first_token: first_token
                .map(|period| self.positive_period(&at("first_token"), &period)),
            rescue: match rescue {
                file::Rescue::None => Rescue::None,
                file::Rescue::Hold => Rescue::Hold,
            },
        }
    }

    fn route_timeouts(&mut self, path: &str, written: file::RouteTimeouts) -> RouteTimeouts {
        let file::RouteTimeouts { first_byte, idle, total } = written;
        let mut period = |name: &str, period: Option<file::Period>| {
            period.map(|period| self.positive_period(&child(path, name), &period))
        };
        RouteTimeouts {
            first_byte: period("first_byte", first_byte),
            idle: period("idle", idle),
            total: period("total", total),
        }
    }

    fn target(
        &mut self,
        path: &str,
        requested: &str,
        weight: f64,
        known: &KnownNames<'_>,
    ) -> Option<RouteTarget> {
        match model_resolution::resolve_provider(known.providers, requested) {
            Ok((provider, model)) => {
                self.check_allowed(path, &known.providers[provider], model);
                Some(RouteTarget { provider, model: model.into(), weight })
            }
            Err(not_found) => {
                if requested.is_empty() || !self.is_reported_for("providers", &MODEL_SETTINGS) {
                    self.report_not_found(path, requested, known, &not_found);
                }
                None
            }
        }
    }

    fn report_not_found(
        &mut self,
        path: &str,
        requested: &str,
        known: &KnownNames<'_>,
        not_found: &ModelNotFound,
    ) {
        if !requested.is_empty() && known.routes.iter().any(|route| route == requested) {
            self.error(
                path,
                format!(
                    "`{}` is a route, but a route can only refer to models of providers",
                    requested.escape_debug()
                ),
                "list the targets of that route here",
            );
            return;
        }
        let names = || known.providers.iter().map(|provider| &*provider.name);
        let help = match requested.split_once('/') {
            _ if !not_found.is_unknown() => None,
            Some((prefix, _)) => Some(match closest(prefix, names()) {
                Some(meant) => format!("did you mean provider `{meant}`?"),
                None => format!("the providers are: {}", names().collect::<Vec<_>>().join(", ")),
            }),
            None => Some("write provider/model, or list the model in `models` of a key".to_owned()),
        };
        self.error(path, format!("no provider has this model: {not_found}"), help.as_deref());
    }

    /// Checks that at least one key of the provider may serve the model.
    fn check_allowed(&mut self, path: &str, provider: &Provider, model: &str) {
        let provider_path = child("providers", &provider.name);
        if provider.keys.is_empty() || self.is_reported_for(&provider_path, &MODEL_SETTINGS) {
            return;
        }
        let mut allowing = provider.keys.iter().filter(|key| key.allows(model)).peekable();
        let (name, model) = (&provider.name, model.escape_debug());
        if allowing.peek().is_none() {
            self.error(
                path,
                format!("no key of provider `{name}` allows the model `{model}`"),
                format!(
                    "check `models` and `blacklisted_models` of its keys{}",
                    self.location(&child(&provider_path, "keys"))
                )
                .as_str(),
            );
        } else if allowing.all(|key| !key.enabled) {
            self.warning(
                path,
                format!("every key of provider `{name}` that allows `{model}` has enabled = false"),
                None,
            );
        }
    }
}
