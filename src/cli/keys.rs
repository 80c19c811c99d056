//! `keymux keys`: what keys there are, without any of their secrets.

use serde::Serialize;

use crate::config::{Config, Key};

/// One key as it is listed.
#[derive(Serialize)]
struct Row<'c> {
    provider: &'c str,
    name: &'c str,
    /// Clients it serves; `null`: everybody.
    clients: Option<Vec<&'c str>>,
    weight: f64,
    /// Models it may serve; `null`: all.
    models: Option<Vec<String>>,
    blacklisted_models: Vec<String>,
    source: &'c str,
    /// `null`: it has no value.
    fingerprint: Option<String>,
    enabled: bool,
}

/// The keys of a configuration: with `json` as a list of objects, otherwise as a table.
pub fn keys(config: &Config, json: bool) -> String {
    let keys = config.providers.iter().flat_map(|provider| &provider.keys);
    let rows: Vec<Row<'_>> = keys.map(|key| row(key)).collect();
    if json {
        let mut text = serde_json::to_string_pretty(&rows).unwrap_or_default();
        text.push('\n');
        return text;
    }
    let titles =
        ["PROVIDER", "KEY", "CLIENTS", "WEIGHT", "MODELS", "SOURCE", "FINGERPRINT", "ENABLED"];
    let lines = std::iter::once(titles.map(str::to_owned)).chain(rows.iter().map(Row::cells));
    table(&lines.collect::<Vec<_>>())
}

fn row(key: &Key) -> Row<'_> {
    let texts =
        |patterns: &[crate::config::Pattern]| patterns.iter().map(ToString::to_string).collect();
    Row {
        provider: &key.provider,
        name: &key.name,
        clients: key
            .clients
            .as_ref()
            .map(|clients| clients.iter().map(|client| &**client).collect()),
        weight: key.weight,
        models: key.models.as_deref().map(texts),
        blacklisted_models: texts(&key.blacklisted_models),
        source: &key.source,
        fingerprint: key.value.is_some().then(|| key.fingerprint.to_string()),
        enabled: key.enabled,
    }
}

impl Row<'_> {
    fn cells(&self) -> [String; 8] {
        let denied = self.blacklisted_models.iter().map(|model| format!("!{model}"));
        let allowed = self.models.clone().unwrap_or_else(|| vec!["all".to_owned()]);
        let models: Vec<String> = allowed.into_iter().chain(denied).collect();
        [
            self.provider.to_owned(),
            self.name.to_owned(),
            self.clients.as_ref().map_or("all".to_owned(), |clients| clients.join(",")),
            self.weight.to_string(),
            models.join(","),
            self.source.to_owned(),
            self.fingerprint.clone().unwrap_or_else(|| "-".to_owned()),
            if self.enabled { "yes" } else { "no" }.to_owned(),
        ]
    }
}

/// Columns as wide as their widest cell, two spaces apart.
fn table(lines: &[[String; 8]]) -> String {
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..8).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
