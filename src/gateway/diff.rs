//! Describes what changed between two configurations, without any value.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::config::Config;
use crate::secret::sha256;

/// Returns the changes as text: keys, clients and routes by name, other settings by path.
pub(super) fn describe_changes(before: &Config, after: &Config) -> String {
    let (old, new) = (named_parts(before), named_parts(after));
    let mut changes = Vec::new();
    for (name, content) in &new {
        match old.get(name) {
            None => changes.push(format!("{name} added")),
            Some(other) if other != content => changes.push(format!("{name} changed")),
            Some(_) => {}
        }
    }
    changes
        .extend(old.keys().filter(|name| !new.contains_key(*name)).map(|n| format!("{n} removed")));
    if changes.is_empty() { "no effective change".to_owned() } else { changes.join(", ") }
}

/// Returns everything that has a name, each with a text that differs when the part does. The text contains
/// fingerprints in place of secrets and is never printed.
fn named_parts(config: &Config) -> BTreeMap<String, String> {
    let mut out = BTreeMap::<String, String>::new();
    for setting in &config.effective {
        let (name, rest) = owner(config, &setting.path);
        let text = out.entry(name).or_default();
        text.push_str(rest);
        text.push_str(&setting.value.to_string());
    }
    // Their settings are paths of files, whose contents are read at each load.
    if let Some(tls) = &config.server.tls {
        let trusted = tls.client_ca.iter().flatten();
        let certificates = tls.cert.iter().chain(trusted).map(|certificate| sha256(certificate));
        let digests: Vec<_> = certificates.chain([sha256(tls.key.secret_der())]).collect();
        let text = out.entry("server.tls".to_owned()).or_default();
        let _ = write!(text, "{digests:?}");
    }
    for provider in &config.providers {
        let trusted = provider.transport.ca.iter().flat_map(|certificates| certificates.iter());
        let digests: Vec<_> = trusted.map(|certificate| sha256(certificate)).collect();
        let text = out.entry(format!("provider {}", provider.name)).or_default();
        let _ = write!(text, "{digests:?}");
    }
    out
}

/// Returns the named part that a setting belongs to, and the setting's path in it: `key openai/team-a` and
/// `.weight` for `providers.openai.keys[0].weight`. An index of a list is part of neither, so removing the first
/// key changes no other. A setting outside all named parts is a part by its path.
fn owner<'p>(config: &Config, path: &'p str) -> (String, &'p str) {
    if let Some((at, rest)) = path.strip_prefix("clients[").and_then(split_index)
        && let Some(client) = config.clients.get(at)
    {
        return (format!("client {}", client.name), rest);
    }
    for provider in &config.providers {
        let Some(rest) = strip_name(path, "providers.", &provider.name) else { continue };
        if let Some((at, rest)) = rest.strip_prefix("keys[").and_then(split_index)
            && let Some(key) = provider.keys.get(at)
        {
            return (format!("key {}/{}", provider.name, key.name), rest);
        }
        return (format!("provider {}", provider.name), rest);
    }
    for route in &config.routes {
        if let Some(rest) = strip_name(path, "routes.", &route.name) {
            return (format!("route {}", route.name), rest);
        }
    }
    if path.starts_with("server.tls.") {
        return ("server.tls".to_owned(), path);
    }
    (path.to_owned(), "")
}

fn strip_name<'p>(path: &'p str, table: &str, name: &str) -> Option<&'p str> {
    path.strip_prefix(table)?.strip_prefix(name)?.strip_prefix('.')
}

fn split_index(rest: &str) -> Option<(usize, &str)> {
    let (index, rest) = rest.split_once(']')?;
    Some((index.parse().ok()?, rest))
}
