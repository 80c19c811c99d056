//! `keymux explain MODEL`: shows the targets in order, the share of each key, and why other keys are excluded.
//! Uses the functions of the request path; with `--running`, also the state of the running gateway.

use std::fmt::Write as _;
use std::io;

use serde::Deserialize;

use super::CommandOutput;
use super::admin_client::get;
use crate::config::{Affinity, Client, Config, Key, Provider, ResolvedModel};
use crate::keys::{ClientScope, Ineligible, eligibility};
use crate::route::{self, ModelDenied, Target};

/// The state of a key, as the running gateway reports it at `/keys`.
#[derive(Deserialize)]
struct LiveKey {
    provider: String,
    key: String,
    state: String,
    cooldown_remaining_seconds: Option<u64>,
    reason: Option<String>,
    models: Vec<LiveModel>,
    in_flight: u32,
    limits: LiveLimits,
    last_minute: LiveMinute,
    rate_limits: Vec<ReportedLimit>,
}

/// The limits of the key in the file.
#[derive(Deserialize)]
struct LiveLimits {
    max_concurrent: Option<u32>,
    rpm: Option<u32>,
    tpm: Option<u32>,
}

/// The usage of the last minute, if it is limited.
#[derive(Deserialize)]
struct LiveMinute {
    requests: Option<u64>,
    tokens: Option<u64>,
}

/// A limit that the provider reported, with the remaining amount.
#[derive(Deserialize)]
struct ReportedLimit {
    model: String,
    kind: String,
    remaining: u64,
    limit: Option<u64>,
    resets_in_seconds: u64,
}

/// A model for which the key is cooling down.
#[derive(Deserialize)]
struct LiveModel {
    model: String,
    cooldown_remaining_seconds: Option<u64>,
    reason: Option<String>,
}

pub(super) fn explain(
    config: &Config,
    model: &str,
    client: Option<&str>,
    running: bool,
) -> CommandOutput {
    let client = match client {
        None => None,
        Some(name) => match config.clients.iter().find(|client| &*client.name == name) {
            Some(client) => Some(client),
            None => {
                return CommandOutput::failed(format!("keymux: there is no client `{name}`\n"), 1);
            }
        },
    };
    let live = match running.then(|| live_keys(config)).transpose() {
        Ok(live) => live,
        Err(error) => {
            let listen = &config.admin.listen;
            let error = format!("keymux: cannot get {listen}/keys (admin.listen): {error}\n");
            return CommandOutput::failed(error, 1);
        }
    };
    match describe(config, model, client, live.as_deref()) {
        Ok(out) => CommandOutput::new(out, true),
        Err(out) => CommandOutput::new(out, false),
    }
}

/// Requests the state of the keys from the running gateway.
fn live_keys(config: &Config) -> io::Result<Vec<LiveKey>> {
    let response = get(&config.admin.listen, "/keys", config.admin.token.as_ref())?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(head.lines().next().unwrap_or_default().to_owned()));
    }
    Ok(serde_json::from_str(body)?)
}

fn describe(
    config: &Config,
    model: &str,
    client: Option<&Client>,
    live: Option<&[LiveKey]>,
) -> Result<String, String> {
    let resolved = config.resolve_model(model).map_err(|not_found| format!("{not_found}\n"))?;
    if let Some(client) = client {
        if !client.enabled {
            return Err(format!("client {} is disabled\n", client.name));
        }
        route::authorize_model(client, config, model, &resolved).map_err(
            |denied| match denied {
                ModelDenied::NotListed => {
                    format!("`models` of client {} do not include {model}\n", client.name)
                }
                ModelDenied::Blacklisted => {
                    format!("`blacklisted_models` of client {} include {model}\n", client.name)
                }
            },
        )?;
    }
    let mut out = String::new();
    let mut serves = 0;
    match resolved {
        ResolvedModel::Model { provider, model } => {
            serves +=
                describe_target(&mut out, config, client, live, Target { provider, model }, "");
        }
        ResolvedModel::Route(route) => {
            let _ = writeln!(out, "{} is a route", route.name);
            let total: f64 = route.targets.iter().map(|target| target.weight).sum();
            for target in &route.targets {
                let share = share(target.weight, total);
                let at = Target { provider: target.provider, model: &target.model };
                serves += describe_target(
                    &mut out,
                    config,
                    client,
                    live,
                    at,
                    &format!("target, {share}: "),
                );
            }
            for (index, target) in route.fallbacks.iter().enumerate() {
                let at = Target { provider: target.provider, model: &target.model };
                serves += describe_target(
                    &mut out,
                    config,
                    client,
                    live,
                    at,
                    &format!("fallback {}: ", index + 1),
                );
            }
        }
    }
    if serves == 0 {
        let _ = writeln!(out, "no key serves this model: a request gets status 404");
        return Err(out);
    }
    Ok(out)
}

/// Describes one target. Returns the number of keys that may serve it.
fn describe_target(
    out: &mut String,
    config: &Config,
    client: Option<&Client>,
    live: Option<&[LiveKey]>,
    target: Target<'_>,
    what: &str,
) -> usize {
    let provider: &Provider = &config.providers[target.provider];
    let _ = writeln!(out, "{what}{}/{}", provider.name, target.model);
    if client.is_some_and(|client| !route::is_target_allowed(client, config, target)) {
        let _ = writeln!(out, "  excluded: `blacklisted_models` of the client include it");
        return 0;
    }
    let name = client.map(|client| &*client.name);
    let verdicts: Vec<Result<ClientScope, Ineligible>> =
        provider.keys.iter().map(|key| eligibility(key, name, target.model)).collect();
    let scope = if verdicts.contains(&Ok(ClientScope::NamedClients)) {
        ClientScope::NamedClients
    } else {
        ClientScope::AllClients
    };
    let is_open = |index: usize| verdicts[index] == Ok(scope);
    let total: f64 = (0..provider.keys.len())
        .filter(|index| is_open(*index))
        .map(|index| provider.keys[index].weight)
        .sum();
    let width = provider.keys.iter().map(|key| key.name.chars().count()).max().unwrap_or(0);
    for (index, key) in provider.keys.iter().enumerate() {
        let status = match verdicts[index] {
            Ok(_) if is_open(index) => {
                let sent_as = key.deployment(target.model);
                let sent_as = sent_as.map(|name| format!(", as {name}")).unwrap_or_default();
                let now =
                    live.map(|live| format!("; now {}", live_status(live, key, target.model)));
                format!("{}{sent_as}{}", share(key.weight, total), now.unwrap_or_default())
            }
            Ok(_) => "excluded: keys that name this client are preferred".to_owned(),
            Err(out) => format!("excluded: {out}"),
        };
        let _ = writeln!(out, "  {:width$}  {status}", key.name);
    }
    let serve = (0..provider.keys.len()).filter(|index| is_open(*index)).count();
    if serve > 1 {
        let _ = writeln!(out, "  {}", describe_affinity(provider.affinity));
    }
    serve
}

/// Describes how requests are distributed over keys.
fn describe_affinity(affinity: Affinity) -> &'static str {
    match affinity {
        Affinity::PromptCache => {
            "a conversation with a stable prefix of at least 4 kB keeps its key, shorter requests follow the shares \
             exactly (affinity: prompt_cache)"
        }
        Affinity::Session => {
            "a session that the caller names keeps its key, other requests follow the shares exactly \
             (affinity: session)"
        }
        Affinity::None => "every request follows the shares exactly (affinity: none)",
    }
}

/// Describes the current state of a key for a model.
fn live_status(live: &[LiveKey], key: &Key, model: &str) -> String {
    let same = |own: &&LiveKey| *own.provider == *key.provider && *own.key == *key.name;
    let Some(own) = live.iter().find(same) else {
        return "not a key of the running gateway".to_owned();
    };
    let mut text = availability(own, model);
    let LiveKey { in_flight, limits, last_minute, rate_limits, .. } = own;
    let _ = write!(text, ", {in_flight}{} in flight", of(limits.max_concurrent.map(u64::from)));
    for (name, used, limit) in
        [("requests", last_minute.requests, limits.rpm), ("tokens", last_minute.tokens, limits.tpm)]
    {
        if let Some(used) = used {
            let _ = write!(text, ", {used}{} {name} in the last minute", of(limit.map(u64::from)));
        }
    }
    for rest in rate_limits.iter().filter(|rest| rest.model == model) {
        let ReportedLimit { remaining, limit, resets_in_seconds, .. } = rest;
        let name = rest.kind.replace('_', " ");
        let _ = write!(text, ", {remaining}{} {name} left for {resets_in_seconds} s", of(*limit));
    }
    text
}

/// Returns ` of 7`, or nothing without a limit.
fn of(limit: Option<u64>) -> String {
    limit.map(|limit| format!(" of {limit}")).unwrap_or_default()
}

/// Describes whether a key can be used for a model.
fn availability(own: &LiveKey, model: &str) -> String {
    let of_model = own.models.iter().find(|known| known.model == model);
    let (left, why, with) = match (&own.reason, of_model) {
        (Some(why), _) => (own.cooldown_remaining_seconds, Some(why), ""),
        (None, Some(known)) => {
            (known.cooldown_remaining_seconds, known.reason.as_ref(), " with this model")
        }
        (None, None) => return own.state.clone(),
    };
    let why = why.map_or("", String::as_str);
    match left {
        _ if own.state == "limited" => match left {
            Some(left) => format!("{why}, for {left} s more"),
            None => why.to_owned(),
        },
        Some(left) => format!("cooling down{with} for {left} s more ({why})"),
        None => format!("half-open{with}: the next request is its probe ({why})"),
    }
}

fn share(weight: f64, total: f64) -> String {
    if weight > 0.0 { format!("{:.4} %", 100.0 * weight / total) } else { "standby".to_owned() }
}
