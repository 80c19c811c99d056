//! The model asked for -> the attempts in order. Pure: whose turn it is among a route's targets is
//! passed in.

use crate::config::pattern::any_matches;
use crate::config::{Client, Config, Pattern, ResolvedModel, Route, RouteTarget};
use crate::share::Turn;

/// One place to try: a provider and the model to ask it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Place in [`Config::providers`].
    pub provider: usize,
    /// The model asked of it, before `deployments` maps it.
    pub model: &'a str,
}

/// The hops of one request, in order: for a route the target whose turn it is, the other targets,
/// then the fallbacks; else the one provider.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The route that was asked for, if it was one.
    pub route: Option<&'a Route>,
    single: Option<Target<'a>>,
    turn: Turn,
    tried: Vec<usize>,
    fallbacks: std::slice::Iter<'a, RouteTarget>,
}

impl<'a> Plan<'a> {
    /// The plan for what was asked; `turn` decides between a route's targets.
    pub fn new(asked: &ResolvedModel<'a, 'a>, turn: Turn) -> Self {
        let (route, single) = match *asked {
            ResolvedModel::Route(route) => (Some(route), None),
            ResolvedModel::Model { provider, model } => (None, Some(Target { provider, model })),
        };
        let fallbacks = route.map_or(&[][..], |route| &route.fallbacks).iter();
        Self { route, single, turn, tried: Vec::new(), fallbacks }
    }

    fn target(&mut self) -> Option<&'a RouteTarget> {
        let targets = &self.route?.targets;
        let open = |place: &usize| !self.tried.contains(place);
        let weights =
            (0..targets.len()).map(|place| if open(&place) { targets[place].weight } else { 0.0 });
        let place = self.turn.pick(weights).or_else(|| (0..targets.len()).find(open))?;
        self.tried.push(place);
        Some(&targets[place])
    }
}

impl<'a> Iterator for Plan<'a> {
    type Item = Target<'a>;

    fn next(&mut self) -> Option<Target<'a>> {
        if let Some(hop) = self.single.take() {
            return Some(hop);
        }
        let target = self.target().or_else(|| self.fallbacks.next())?;
        Some(Target { provider: target.provider, model: &target.model })
    }
}

/// Why a client may not have a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelDenied {
    /// Its `models` do not cover what it asked for.
    NotListed,
    /// Its `blacklisted_models` cover it.
    Blacklisted,
}

/// Whether the client may ask for this name at all. Its patterns are matched against the name as
/// asked, against the model alone, and against `provider/model`, each with its region and without.
pub fn authorize_model(
    client: &Client,
    config: &Config,
    asked: &str,
    resolved: &ResolvedModel<'_, '_>,
) -> Result<(), ModelDenied> {
    let covers = |patterns: &[Pattern]| {
        any_matches(patterns, asked)
            || match *resolved {
                ResolvedModel::Route(_) => false,
                ResolvedModel::Model { provider, model } => {
                    covers_target(patterns, config, Target { provider, model })
                }
            }
    };
    if covers(&client.blacklisted_models) {
        return Err(ModelDenied::Blacklisted);
    }
    match &client.models {
        Some(models) if !covers(models) => Err(ModelDenied::NotListed),
        _ => Ok(()),
    }
}

/// Whether the client's denials let it have this hop. ResolvedModel of every target and fallback, so that a
/// route is no way round them.
pub fn is_target_allowed(client: &Client, config: &Config, hop: Target<'_>) -> bool {
    !covers_target(&client.blacklisted_models, config, hop)
}

fn covers_target(patterns: &[Pattern], config: &Config, hop: Target<'_>) -> bool {
    if patterns.is_empty() {
        return false;
    }
    let provider = &config.providers[hop.provider];
    let covers = |model: &str| {
        let full = format!("{}/{model}", provider.name);
        any_matches(patterns, model) || any_matches(patterns, &full)
    };
    let bare = provider.without_region(hop.model);
    covers(hop.model) || (bare != hop.model && covers(bare))
}
