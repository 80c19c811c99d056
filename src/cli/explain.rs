//! `keymux explain MODEL`: the attempts in order, each candidate's share, and why every other key is
//! out. Asks the functions that the request path asks; with `--running`, also the running program.

use std::fmt::Write as _;
use std::io;

use serde::Deserialize;

use super::Said;
use super::admin_client::ask;
use super::run::said;
use crate::config::{Affinity, Client, Config, Key, Provider, ResolvedModel};
use crate::keys::{Out, Scope, verdict};
use crate::route::{self, ModelDenied, Target};

/// How a key fares, as the running program tells it at `/keys`.
#[derive(Deserialize)]
struct Live {
    provider: String,
    key: String,
    state: String,
    cooling_for_seconds: Option<u64>,
    why: Option<String>,
    models: Vec<LiveModel>,
    in_flight: u32,
    limits: LiveLimits,
    last_minute: LiveMinute,
    told: Vec<LiveRest>,
}

/// The limits that the file has for the key.
#[derive(Deserialize)]
struct LiveLimits {
    max_concurrent: Option<u32>,
    rpm: Option<u32>,
    tpm: Option<u32>,
}

/// What went through in the last minute, where that is limited.
#[derive(Deserialize)]
struct LiveMinute {
    requests: Option<u64>,
    tokens: Option<u64>,
}

/// What the provider has said is left.
#[derive(Deserialize)]
struct LiveRest {
    model: String,
    of: String,
    remaining: u64,
    limit: Option<u64>,
    resets_in_seconds: u64,
}

/// A model that the key is left alone with.
#[derive(Deserialize)]
struct LiveModel {
    model: String,
    cooling_for_seconds: Option<u64>,
    why: Option<String>,
}

pub(super) fn explain(config: &Config, model: &str, client: Option<&str>, running: bool) -> Said {
    let client = match client {
        None => None,
        Some(name) => match config.clients.iter().find(|client| &*client.name == name) {
            Some(client) => Some(client),
            None => return Said::failed(format!("keymux: no client is named {name}\n"), 1),
        },
    };
    let live = match running.then(|| live(config)).transpose() {
        Ok(live) => live,
        Err(error) => {
            let at = said(&config.admin.listen);
            let error = format!("keymux: nothing to be had of {at}/keys (admin.listen): {error}\n");
            return Said::failed(error, 1);
        }
    };
    match told(config, model, client, live.as_deref()) {
        Ok(out) => Said::new(out, true),
        Err(out) => Said::new(out, false),
    }
}

/// What the running program says of its keys.
fn live(config: &Config) -> io::Result<Vec<Live>> {
    let answer = ask(&config.admin.listen, "/keys", config.admin.token.as_ref())?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(head.lines().next().unwrap_or_default().to_owned()));
    }
    Ok(serde_json::from_str(body)?)
}

fn told(
    config: &Config,
    model: &str,
    client: Option<&Client>,
    live: Option<&[Live]>,
) -> Result<String, String> {
    let asked = config.resolve_model(model).map_err(|not_found| format!("{not_found}\n"))?;
    if let Some(client) = client {
        if !client.enabled {
            return Err(format!("client {} is disabled\n", client.name));
        }
        route::authorize_model(client, config, model, &asked).map_err(|refused| match refused {
            ModelDenied::NotListed => {
                format!("the models of client {} do not cover {model}\n", client.name)
            }
            ModelDenied::Blacklisted => {
                format!("the blacklisted_models of client {} cover {model}\n", client.name)
            }
        })?;
    }
    let mut out = String::new();
    let mut serves = 0;
    match asked {
        ResolvedModel::Model { provider, model } => {
            serves += hop(&mut out, config, client, live, Target { provider, model }, "");
        }
        ResolvedModel::Route(route) => {
            let _ = writeln!(out, "{} is a route", route.name);
            let total: f64 = route.targets.iter().map(|target| target.weight).sum();
            for target in &route.targets {
                let share = share(target.weight, total);
                let at = Target { provider: target.provider, model: &target.model };
                serves += hop(&mut out, config, client, live, at, &format!("target, {share}: "));
            }
            for (place, target) in route.fallbacks.iter().enumerate() {
                let at = Target { provider: target.provider, model: &target.model };
                serves +=
                    hop(&mut out, config, client, live, at, &format!("fallback {}: ", place + 1));
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
    live: Option<&[Live]>,
    hop: Target<'_>,
    what: &str,
) -> usize {
    let provider: &Provider = &config.providers[hop.provider];
    let _ = writeln!(out, "{what}{}/{}", provider.name, hop.model);
    if client.is_some_and(|client| !route::is_target_allowed(client, config, hop)) {
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
                let now = live.map(|live| format!("; now {}", fares(live, key, hop.model)));
                format!("{}{sent_as}{}", share(key.weight, total), now.unwrap_or_default())
            }
            Ok(_) => "out: keys that name this client come first".to_owned(),
            Err(out) => format!("out: {out}"),
        };
        let _ = writeln!(out, "  {:width$}  {told}", key.name);
    }
    let serve = (0..provider.keys.len()).filter(|place| open(*place)).count();
    if serve > 1 {
        let _ = writeln!(out, "  {}", stays(provider.affinity));
    }
    serve
}

/// How requests are given to keys.
fn stays(affinity: Affinity) -> &'static str {
    match affinity {
        Affinity::PromptCache => {
            "a conversation stays with one key from 4 kB of stable prefix on, shorter requests follow the shares \
             exactly (affinity: prompt_cache)"
        }
        Affinity::Session => {
            "a session that the caller names stays with one key, other requests follow the shares exactly \
             (affinity: session)"
        }
        Affinity::None => "every request follows the shares exactly (affinity: none)",
    }
}

/// How a key fares with a model.
fn fares(live: &[Live], key: &Key, model: &str) -> String {
    let same = |own: &&Live| *own.provider == *key.provider && *own.key == *key.name;
    let Some(own) = live.iter().find(same) else {
        return "not a key of the running program".to_owned();
    };
    let mut said = stands(own, model);
    let Live { in_flight, limits, last_minute, told, .. } = own;
    let _ = write!(said, ", {in_flight}{} under way", of(limits.max_concurrent.map(u64::from)));
    for (name, used, limit) in
        [("requests", last_minute.requests, limits.rpm), ("tokens", last_minute.tokens, limits.tpm)]
    {
        if let Some(used) = used {
            let _ = write!(said, ", {used}{} {name} in the last minute", of(limit.map(u64::from)));
        }
    }
    for rest in told.iter().filter(|rest| rest.model == model) {
        let LiveRest { remaining, limit, resets_in_seconds, .. } = rest;
        let name = rest.of.replace('_', " ");
        let _ = write!(said, ", {remaining}{} {name} left for {resets_in_seconds} s", of(*limit));
    }
    said
}

/// ` of 7`
fn of(limit: Option<u64>) -> String {
    limit.map(|limit| format!(" of {limit}")).unwrap_or_default()
}

/// Whether a key can be asked for a model.
fn stands(own: &Live, model: &str) -> String {
    let of_model = own.models.iter().find(|known| known.model == model);
    let (left, why, with) = match (&own.why, of_model) {
        (Some(why), _) => (own.cooling_for_seconds, Some(why), ""),
        (None, Some(known)) => (known.cooling_for_seconds, known.why.as_ref(), " with this model"),
        (None, None) => return own.state.clone(),
    };
    let why = why.map_or("", String::as_str);
    match left {
        _ if own.state == "limited" => match left {
            Some(left) => format!("{why}, for {left} s more"),
            None => why.to_owned(),
        },
        Some(left) => format!("cooling{with} for {left} s more ({why})"),
        None => format!("half-open{with}: the next request is its probe ({why})"),
    }
}

fn share(weight: f64, total: f64) -> String {
    if weight > 0.0 { format!("{:.4} %", 100.0 * weight / total) } else { "standby".to_owned() }
}
