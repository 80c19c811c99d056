//! What a change of the file has changed, in words that hold no values.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::config::Config;
use crate::secret::sha256;

/// What is different, in words: keys, clients and routes by name, other settings by path.
pub(super) fn changes(before: &Config, after: &Config) -> String {
    let (old, new) = (named(before), named(after));
    let mut words = Vec::new();
    for (name, digest) in &new {
        match old.get(name) {
            None => words.push(format!("{name} added")),
            Some(other) if other != digest => words.push(format!("{name} changed")),
            Some(_) => {}
        }
    }
    words
        .extend(old.keys().filter(|name| !new.contains_key(*name)).map(|n| format!("{n} removed")));
    if words.is_empty() { "nothing that is used".to_owned() } else { words.join(", ") }
}

/// Everything that has a name, with a text that differs when it does. Secrets stand in it as
/// fingerprints, which stay inside.
fn named(config: &Config) -> BTreeMap<String, String> {
    let mut out = BTreeMap::<String, String>::new();
    for setting in &config.effective {
        let (name, rest) = owner(config, &setting.path);
        let text = out.entry(name).or_default();
        text.push_str(rest);
        text.push_str(&setting.value.to_string());
    }
    // Their settings are the paths of files; what stands in these is read anew each time.
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

/// The thing that a setting belongs to, and the setting's path in it: `key openai/team-a` and
/// `.weight` for `providers.openai.keys[0].weight`. A place in a list is no part of either, so that
/// removing the first key changes no other. A setting that stands alone belongs to itself.
fn owner<'p>(config: &Config, path: &'p str) -> (String, &'p str) {
    if let Some((at, rest)) = path.strip_prefix("clients[").and_then(index)
        && let Some(client) = config.clients.get(at)
    {
        return (format!("client {}", client.name), rest);
    }
    for provider in &config.providers {
        let Some(rest) = within(path, "providers.", &provider.name) else { continue };
        if let Some((at, rest)) = rest.strip_prefix("keys[").and_then(index)
            && let Some(key) = provider.keys.get(at)
        {
            return (format!("key {}/{}", provider.name, key.name), rest);
        }
        return (format!("provider {}", provider.name), rest);
    }
    for route in &config.routes {
        if let Some(rest) = within(path, "routes.", &route.name) {
            return (format!("route {}", route.name), rest);
        }
    }
    if path.starts_with("server.tls.") {
        return ("server.tls".to_owned(), path);
    }
    (path.to_owned(), "")
}

fn within<'p>(path: &'p str, table: &str, name: &str) -> Option<&'p str> {
    path.strip_prefix(table)?.strip_prefix(name)?.strip_prefix('.')
}

fn index(rest: &str) -> Option<(usize, &str)> {
    let (place, rest) = rest.split_once(']')?;
    Some((place.parse().ok()?, rest))
}
