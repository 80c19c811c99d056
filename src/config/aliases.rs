//! Names that other programs have for our settings, and what to write here in their place.

use super::path;

/// Path of a table, with `*` for names and places that are the user's; names that are no settings of
/// it; the setting that is meant; how that is written.
const ROWS: [(&str, &[&str], &str, &str); 12] = [
    (
        "providers.*.keys.*",
        &["key"],
        "value",
        "the credential is the `value` of a key: value = { env_var = \"NAME\" }",
    ),
    (
        "providers.*.keys.*",
        &CREDENTIALS,
        "value",
        "the credential is the `value` of a key: value = { env_var = \"NAME\" }",
    ),
    (
        "providers.*.keys.*",
        &SOURCES,
        "value",
        "where the credential comes from stands in `value`: value = { env_var = \"NAME\" }",
    ),
    (
        "providers.*",
        &CREDENTIALS,
        "keys",
        "a credential is the `value` of a key: [[providers.NAME.keys]] with `name` and `value`",
    ),
    (
        "providers.*",
        &SOURCES,
        "keys",
        "a credential is the `value` of a key: [[providers.NAME.keys]] with `name` and `value`",
    ),
    (
        "providers.*",
        &["url", "api_base", "api_url", "base", "endpoint", "host", "address"],
        "base_url",
        "did you mean `base_url`?",
    ),
    ("providers.*", &["type", "provider"], "kind", "did you mean `kind`?"),
    (
        "clients.*",
        &CREDENTIALS,
        "key",
        "what a client shows is its `key`: key = { env_var = \"NAME\" }",
    ),
    (
        "clients.*",
        &SOURCES,
        "key",
        "where the key comes from stands in `key`: key = { env_var = \"NAME\" }",
    ),
    (
        "server",
        &ADDRESSES,
        "listen",
        "address and port stand in one setting: listen = \"127.0.0.1:8787\"",
    ),
    (
        "admin",
        &ADDRESSES,
        "listen",
        "address and port stand in one setting: listen = \"127.0.0.1:8788\"",
    ),
    (
        "",
        &["name", "value", "weight", "models"],
        "providers",
        "it belongs under the header of a key, such as [[providers.openai.keys]]",
    ),
];

const CREDENTIALS: [&str; 7] =
    ["api_key", "apikey", "api-key", "token", "api_token", "secret", "secret_key"];
const SOURCES: [&str; 6] = ["env_var", "env", "file", "credential", "from_env", "key_file"];
const ADDRESSES: [&str; 5] = ["port", "host", "address", "addr", "bind"];

/// The setting that is meant by a name that the table at `table` does not have, and how it is written.
pub(super) fn meant(table: &str, name: &str) -> Option<(&'static str, &'static str)> {
    let lower = name.to_lowercase();
    let (_, _, meant, help) = ROWS
        .iter()
        .find(|(pattern, names, ..)| names.contains(&lower.as_str()) && fits(table, pattern))?;
    Some((meant, help))
}

fn fits(path: &str, pattern: &str) -> bool {
    let mut rest = path;
    for wanted in pattern.rsplit('.').filter(|wanted| !wanted.is_empty()) {
        let around = path::parent(rest);
        let last = rest[around.len()..].trim_start_matches('.');
        if last.is_empty() || (wanted != "*" && wanted != last) {
            return false;
        }
        rest = around;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_known_by_their_paths() {
        let setting = |table, name| meant(table, name).map(|(setting, _)| setting);
        assert_eq!(setting("providers.\"a.b\".keys[3]", "API_KEY"), Some("value"));
        assert_eq!(setting("providers.openai", "api_key"), Some("keys"));
        assert_eq!(setting("clients[0]", "token"), Some("key"));
        assert_eq!(setting("", "value"), Some("providers"));
        assert_eq!(setting("providers", "api_key"), None);
        assert_eq!(setting("providers.openai.keys[0].value", "env"), None);
        assert_eq!(setting("server", "weight"), None);
    }
}
