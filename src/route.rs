//! From a requested model to its targets in order. Pure: the turn that chooses between a route's targets is
//! passed in.

use crate::config::pattern::any_matches;
use crate::config::{Client, Config, Pattern, ResolvedModel, Route, RouteTarget};
use crate::share::Turn;

/// A provider and the model to request from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Index in [`Config::providers`].
    pub provider: usize,
    /// The model requested from it, before `deployments` maps it.
    pub model: &'a str,
}

/// The targets of one request in order. For a route: the target whose turn it is, the other targets, the
/// fallbacks. Otherwise the one provider.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The requested route, if it was one.
    pub route: Option<&'a Route>,
    single: Option<Target<'a>>,
    turn: Turn,
    tried: Vec<usize>,
    fallbacks: std::slice::Iter<'a, RouteTarget>,
}

impl<'a> Plan<'a> {
    /// Returns the plan for a resolved model. `turn` chooses between a route's targets.
    pub fn new(resolved: &ResolvedModel<'a, 'a>, turn: Turn) -> Self {
        let (route, single) = match *resolved {
            ResolvedModel::Route(route) => (Some(route), None),
            ResolvedModel::Model { provider, model } => (None, Some(Target { provider, model })),
        };
        let fallbacks = route.map_or(&[][..], |route| &route.fallbacks).iter();
        Self { route, single, turn, tried: Vec::new(), fallbacks }
    }

    fn target(&mut self) -> Option<&'a RouteTarget> {
        let targets = &self.route?.targets;
        let is_untried = |index: &usize| !self.tried.contains(index);
        let weights = (0..targets.len())
            .map(|index| if is_untried(&index) { targets[index].weight } else { 0.0 });
        let index = self.turn.pick(weights).or_else(|| (0..targets.len()).find(is_untried))?;
        self.tried.push(index);
        Some(&targets[index])
    }
}

impl<'a> Iterator for Plan<'a> {
    type Item = Target<'a>;

    fn next(&mut self) -> Option<Target<'a>> {
        if let Some(target) = self.single.take() {
            return Some(target);
        }
        let target = self.target().or_else(|| self.fallbacks.next())?;
        Some(Target { provider: target.provider, model: &target.model })
    }
}

/// The reason why a client may not use a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelDenied {
    /// Its `models` do not include the model.
    NotListed,
    /// Its `blacklisted_models` include the model.
    Blacklisted,
}

/// Checks that the client may request this model. Its patterns are compared with the requested name, with the
/// model alone, and with `provider/model`, each with and without the region.
pub fn authorize_model(
    client: &Client,
    config: &Config,
    requested: &str,
    resolved: &ResolvedModel<'_, '_>,
) -> Result<(), ModelDenied> {
    let matches = |patterns: &[Pattern]| {
        any_matches(patterns, requested)
            || match *resolved {
                ResolvedModel::Route(_) => false,
                ResolvedModel::Model { provider, model } => {
                    matches_target(patterns, config, Target { provider, model })
                }
            }
    };
    if matches(&client.blacklisted_models) {
        return Err(ModelDenied::Blacklisted);
    }
    match &client.models {
        Some(models) if !matches(models) => Err(ModelDenied::NotListed),
        _ => Ok(()),
    }
}

/// True if `blacklisted_models` of the client allow this target. Checked for every target and fallback, so
/// that a route cannot bypass them.
pub fn is_target_allowed(client: &Client, config: &Config, target: Target<'_>) -> bool {
    !matches_target(&client.blacklisted_models, config, target)
}

fn matches_target(patterns: &[Pattern], config: &Config, target: Target<'_>) -> bool {
    if patterns.is_empty() {
        return false;
    }
    let provider = &config.providers[target.provider];
    let matches = |model: &str| {
        let full = format!("{}/{model}", provider.name);
        any_matches(patterns, model) || any_matches(patterns, &full)
    };
    let bare = provider.without_region(target.model);
    matches(target.model) || (bare != target.model && matches(bare))
}
