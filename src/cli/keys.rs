//! `keymux keys`: lists all keys without their secrets.

use serde::Serialize;

use crate::config::{Cloud, Config, Key};

/// One key of the list.
#[derive(Serialize)]
struct Row<'c> {
    provider: &'c str,
    name: &'c str,
    /// Clients it serves; `null`: all.
    clients: Option<Vec<&'c str>>,
    weight: f64,
    /// Models it may serve; `null`: all.
    models: Option<Vec<String>>,
    blacklisted_models: Vec<String>,
    source: &'c str,
    /// `null` if it has no credential.
    fingerprint: Option<String>,
    enabled: bool,
}

/// Formats the keys of a configuration: with `json` as a list of objects, otherwise as a table.
pub(super) fn keys(config: &Config, json: bool) -> String {
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
    let has_credential = key.value.is_some() || !matches!(key.cloud, Cloud::None);
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
        fingerprint: has_credential.then(|| key.fingerprint.to_string()),
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

/// Formats a table. Columns are as wide as their widest cell, with two spaces between them.
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

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::io;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::{Environment, LoadOptions, load};

    const TEXT: &str = "
        clients = [{ name = \"staging\", key = \"sk-client\" }]
        [[providers.openai.keys]]
        value = { env_var = \"OPENAI_KEY\" }
        models = [\"gpt-4o*\"]
        blacklisted_models = [\"*-mini\"]
        clients = [\"staging\"]
        [[providers.openai.keys]]
        name = \"off\"
        value = \"sk-literal\"
        enabled = false
    ";

    struct OneFile;

    impl Environment for OneFile {
        fn variable(&self, _: &str) -> Option<OsString> {
            Some("sk-variable".into())
        }

        fn keymux_variables(&self) -> Vec<(String, String)> {
            Vec::new()
        }

        fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
            Ok(TEXT.into())
        }

        fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn keys_are_listed_without_their_secrets() {
        let options = LoadOptions { file: "keymux.toml".into(), overrides: Vec::new() };
        let config = load(&options, &OneFile).config.unwrap();
        let (text, json) = (keys(&config, false), keys(&config, true));
        assert!(!text.contains("sk-") && !json.contains("sk-"), "{text}{json}");
        let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
        let fingerprint = rows[0]["fingerprint"].as_str().unwrap();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect())
            .collect();
        assert_eq!(
            lines[0],
            ["PROVIDER", "KEY", "CLIENTS", "WEIGHT", "MODELS", "SOURCE", "FINGERPRINT", "ENABLED"]
        );
        assert_eq!(
            lines[1],
            [
                "openai",
                "OPENAI_KEY",
                "staging",
                "1",
                "gpt-4o*,!*-mini",
                "env OPENAI_KEY",
                fingerprint,
                "yes"
            ]
        );
        assert_eq!(lines[2], ["openai", "off", "all", "1", "all", "none", "-", "no"]);
        assert_eq!(rows[1]["clients"], serde_json::Value::Null);
    }
}
