//! The model asked for -> the attempts in order. Pure: whose turn it is among a route's targets is
//! passed in.

use crate::config::pattern::any_matches;
use crate::config::{Asked, Client, Config, Pattern, Route, Target};
use crate::share::Turn;

/// One place to try: a provider and the model to ask it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop<'a> {
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
    single: Option<Hop<'a>>,
    turn: Turn,
    tried: Vec<usize>,
    fallbacks: std::slice::Iter<'a, Target>,
}

impl<'a> Plan<'a> {
    /// The plan for what was asked; `turn` decides between a route's targets.
    pub fn new(asked: &Asked<'a, 'a>, turn: Turn) -> Self {
        let (route, single) = match *asked {
            Asked::Route(route) => (Some(route), None),
            Asked::Model { provider, model } => (None, Some(Hop { provider, model })),
        };
        let fallbacks = route.map_or(&[][..], |route| &route.fallbacks).iter();
        Self { route, single, turn, tried: Vec::new(), fallbacks }
    }

    fn target(&mut self) -> Option<&'a Target> {
        let targets = &self.route?.targets;
        let open = |place: &usize| !self.tried.contains(place);
        let weights =
            (0..targets.len()).map(|place| if open(&place) { targets[place].weight } else { 0.0 });
        let place = self.turn.among(weights).or_else(|| (0..targets.len()).find(open))?;
        self.tried.push(place);
        Some(&targets[place])
    }
}

impl<'a> Iterator for Plan<'a> {
    type Item = Hop<'a>;

    fn next(&mut self) -> Option<Hop<'a>> {
        if let Some(hop) = self.single.take() {
            return Some(hop);
        }
        let target = self.target().or_else(|| self.fallbacks.next())?;
        Some(Hop { provider: target.provider, model: &target.model })
    }
}

/// Why a client may not have a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its `models` do not cover what it asked for.
    NotListed,
    /// Its `blacklisted_models` cover it.
    Blacklisted,
}

/// Whether the client may ask for this name at all. Its patterns are matched against the name as
/// asked, against the model alone, and against `provider/model`, each with its region and without.
pub fn may_ask(
    client: &Client,
    config: &Config,
    asked: &str,
    resolved: &Asked<'_, '_>,
) -> Result<(), Refused> {
    let covers = |patterns: &[Pattern]| {
        any_matches(patterns, asked)
            || match *resolved {
                Asked::Route(_) => false,
                Asked::Model { provider, model } => {
                    covers_hop(patterns, config, Hop { provider, model })
                }
            }
    };
    if covers(&client.blacklisted_models) {
        return Err(Refused::Blacklisted);
    }
    match &client.models {
        Some(models) if !covers(models) => Err(Refused::NotListed),
        _ => Ok(()),
    }
}

/// Whether the client's denials let it have this hop. Asked of every target and fallback, so that a
/// route is no way round them.
pub fn may_have(client: &Client, config: &Config, hop: Hop<'_>) -> bool {
    !covers_hop(&client.blacklisted_models, config, hop)
}

fn covers_hop(patterns: &[Pattern], config: &Config, hop: Hop<'_>) -> bool {
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
