//! `keymux explain MODEL`: the attempts in order, each candidate's share, and why every other key is
//! out. Asks the functions that the request path asks.

use std::fmt::Write as _;

use super::Said;
use crate::config::{Asked, Client, Config, Provider};
use crate::keys::{Out, Scope, verdict};
use crate::route::{self, Hop, Refused};

pub(super) fn explain(config: &Config, model: &str, client: Option<&str>) -> Said {
    let client = match client {
        None => None,
        Some(name) => match config.clients.iter().find(|client| &*client.name == name) {
            Some(client) => Some(client),
            None => return Said::failed(format!("keymux: no client is named {name}\n"), 1),
        },
    };
    match told(config, model, client) {
        Ok(out) => Said::new(out, true),
        Err(out) => Said::new(out, false),
    }
}

fn told(config: &Config, model: &str, client: Option<&Client>) -> Result<String, String> {
    let asked = config.resolve(model).map_err(|not_found| format!("{not_found}\n"))?;
    if let Some(client) = client {
        if !client.enabled {
            return Err(format!("client {} is disabled\n", client.name));
        }
        route::may_ask(client, config, model, &asked).map_err(|refused| match refused {
            Refused::NotListed => {
                format!("the models of client {} do not cover {model}\n", client.name)
            }
            Refused::Blacklisted => {
                format!("the blacklisted_models of client {} cover {model}\n", client.name)
            }
        })?;
    }
    let mut out = String::new();
    let mut serves = 0;
    match asked {
        Asked::Model { provider, model } => {
            serves += hop(&mut out, config, client, Hop { provider, model }, "");
        }
        Asked::Route(route) => {
            let _ = writeln!(out, "{} is a route", route.name);
            let total: f64 = route.targets.iter().map(|target| target.weight).sum();
            for target in &route.targets {
                let share = share(target.weight, total);
                let at = Hop { provider: target.provider, model: &target.model };
                serves += hop(&mut out, config, client, at, &format!("target, {share}: "));
            }
            for (place, target) in route.fallbacks.iter().enumerate() {
                let at = Hop { provider: target.provider, model: &target.model };
                serves += hop(&mut out, config, client, at, &format!("fallback {}: ", place + 1));
            }
        }
    }
    if serves == 0 {
        let _ = writeln!(out, "no key is open: a request is answered with 404");
        return Err(out);
    }
    Ok(out)
}

/// Tells of one hop; how many keys may serve it.
fn hop(
    out: &mut String,
    config: &Config,
    client: Option<&Client>,
    hop: Hop<'_>,
    what: &str,
) -> usize {
    let provider: &Provider = &config.providers[hop.provider];
    let _ = writeln!(out, "{what}{}/{}", provider.name, hop.model);
    if client.is_some_and(|client| !route::may_have(client, config, hop)) {
        let _ = writeln!(out, "  out: the client's blacklisted_models cover it");
        return 0;
    }
    let name = client.map(|client| &*client.name);
    let verdicts: Vec<Result<Scope, Out>> =
        provider.keys.iter().map(|key| verdict(key, name, hop.model)).collect();
    let scope = if verdicts.contains(&Ok(Scope::Named)) { Scope::Named } else { Scope::Everyone };
    let open = |place: usize| verdicts[place] == Ok(scope);
    let total: f64 = (0..provider.keys.len())
        .filter(|place| open(*place))
        .map(|place| provider.keys[place].weight)
        .sum();
    let width = provider.keys.iter().map(|key| key.name.chars().count()).max().unwrap_or(0);
    for (place, key) in provider.keys.iter().enumerate() {
        let told = match verdicts[place] {
            Ok(_) if open(place) => {
                let sent_as = key.deployment(hop.model);
                let sent_as = sent_as.map(|name| format!(", as {name}")).unwrap_or_default();
                format!("{}{sent_as}", share(key.weight, total))
            }
            Ok(_) => "out: keys that name this client come first".to_owned(),
            Err(out) => format!("out: {out}"),
        };
        let _ = writeln!(out, "  {:width$}  {told}", key.name);
    }
    (0..provider.keys.len()).filter(|place| open(*place)).count()
}

fn share(weight: f64, total: f64) -> String {
    if weight > 0.0 { format!("{:.4} %", 100.0 * weight / total) } else { "standby".to_owned() }
}
