//! `[routes.NAME]`

use std::collections::BTreeMap;

use super::Check;
use crate::config::model_resolution;
use crate::config::path::{child, item};
use crate::config::schema_check::closest;
use crate::config::{Provider, Rescue, Route, RouteTarget, RouteTimeouts, file};

/// The settings that decide where a model name leads. Were one of them taken out of the tree for a
/// mistake of its own, nothing could be said about routes.
const LOOKED_AT: [&str; 10] = [
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

/// What targets are looked up in.
struct Known<'a> {
    providers: &'a [Provider],
    routes: Vec<String>,
}

impl Check<'_, '_> {
    pub(super) fn routes(
        &mut self,
        written: BTreeMap<String, file::Route>,
        providers: &[Provider],
    ) -> Vec<Route> {
        let known = Known { providers, routes: written.keys().cloned().collect() };
        written.into_iter().map(|(name, route)| self.route(name, route, &known)).collect()
    }

    fn route(&mut self, name: String, written: file::Route, known: &Known<'_>) -> Route {
        let file::Route { targets, fallbacks, timeouts, first_token, rescue } = written;
        let path = child("routes", &name);
        let at = |name: &str| child(&path, name);
        if name.is_empty() || name.chars().any(char::is_control) || name.trim() != name {
            self.error(
                &path,
                "this is no name for a model",
                "a name has no control characters and no spaces at its ends",
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
        for (place, target) in targets.into_iter().flatten().enumerate() {
            let file::RouteTarget { model, weight } = target;
            let at = child(&item(&list, place), "model");
            resolved.extend(model.and_then(|model| self.target(&at, &model, weight, known)));
        }
        if !resolved.is_empty() && resolved.iter().all(|target| target.weight == 0.0) {
            self.warning(
                &list,
                "every target has weight 0: all are standby, and none comes first",
                None,
            );
        }
        let list = at("fallbacks");
        let fallbacks = fallbacks.iter().enumerate();
        let fallbacks = fallbacks
            .filter_map(|(place, model)| self.target(&item(&list, place), model, 1.0, known))
            .collect();
        Route {
            name: name.into(),
            targets: resolved,
            fallbacks,
            timeouts: timeouts.map_or_else(RouteTimeouts::default, |timeouts| {
                self.deadlines(&at("timeouts"), timeouts)
            }),
            first_token: first_token.map(|period| self.some_period(&at("first_token"), &period)),
            rescue: match rescue {
                file::Rescue::None => Rescue::None,
                file::Rescue::Hold => Rescue::Hold,
                file::Rescue::Resume => Rescue::Resume,
            },
        }
    }

    fn deadlines(&mut self, path: &str, written: file::RouteTimeouts) -> RouteTimeouts {
        let file::RouteTimeouts { first_byte, idle, total } = written;
        let mut period = |name: &str, period: Option<file::Period>| {
            period.map(|period| self.some_period(&child(path, name), &period))
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
        asked: &str,
        weight: f64,
        known: &Known<'_>,
    ) -> Option<RouteTarget> {
        match model_resolution::model(known.providers, asked) {
            Ok((place, model)) => {
                self.reachable(path, &known.providers[place], model);
                Some(RouteTarget { provider: place, model: model.into(), weight })
            }
            Err(not_found) => {
                if asked.is_empty() || !self.doubtful_of("providers", &LOOKED_AT) {
                    self.nowhere(path, asked, known, &not_found);
                }
                None
            }
        }
    }

    fn nowhere(
        &mut self,
        path: &str,
        asked: &str,
        known: &Known<'_>,
        not_found: &model_resolution::ModelNotFound,
    ) {
        if !asked.is_empty() && known.routes.iter().any(|route| route == asked) {
            self.error(
                path,
                format!(
                    "`{}` is a route, and a route leads to models of providers",
                    asked.escape_debug()
                ),
                "name the models that stand behind that route",
            );
            return;
        }
        let names = || known.providers.iter().map(|provider| &*provider.name);
        let help = match asked.split_once('/') {
            _ if !not_found.is_unknown() => None,
            Some((prefix, _)) => Some(match closest(prefix, names()) {
                Some(meant) => format!("did you mean provider `{meant}`?"),
                None => format!("the providers are: {}", names().collect::<Vec<_>>().join(", ")),
            }),
            None => Some("write provider/model, or list the model in `models` of a key".to_owned()),
        };
        self.error(path, format!("this leads nowhere: {not_found}"), help.as_deref());
    }

    /// Whether some key of the provider can serve the model at all.
    fn reachable(&mut self, path: &str, provider: &Provider, model: &str) {
        let place = child("providers", &provider.name);
        if provider.keys.is_empty() || self.doubtful_of(&place, &LOOKED_AT) {
            return;
        }
        let mut allowing = provider.keys.iter().filter(|key| key.allows(model)).peekable();
        let (name, shown) = (&provider.name, model.escape_debug());
        if allowing.peek().is_none() {
            self.error(
                path,
                format!(
                    "this leads nowhere: no key of provider `{name}` allows the model `{shown}`"
                ),
                format!(
                    "see `models` and `blacklisted_models` of its keys{}",
                    self.place(&child(&place, "keys"))
                )
                .as_str(),
            );
        } else if allowing.all(|key| !key.enabled) {
            self.warning(
                path,
                format!("every key of provider `{name}` that allows `{shown}` has enabled = false"),
                None,
            );
        }
    }
}
