//! Names of our settings in other programs, and removed values, with what to write instead.

use super::path;

/// Path of a table, with `*` for names and indices of the user; unknown names in it; the setting that they
/// mean; how that setting is written.
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
        "write the source of the credential in `value`: value = { env_var = \"NAME\" }",
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
        "the API key that a client sends is its `key`: key = { env_var = \"NAME\" }",
    ),
    (
        "clients.*",
        &SOURCES,
        "key",
        "write the source of the API key in `key`: key = { env_var = \"NAME\" }",
    ),
    (
        "server",
        &ADDRESSES,
        "listen",
        "write address and port in one setting: listen = \"127.0.0.1:8787\"",
    ),
    (
        "admin",
        &ADDRESSES,
        "listen",
        "write address and port in one setting: listen = \"127.0.0.1:8788\"",
    ),
    (
        "",
        &["name", "value", "weight", "models"],
        "providers",
        "it belongs to a key, under a header such as [[providers.openai.keys]]",
    ),
];

const CREDENTIALS: [&str; 7] =
    ["api_key", "apikey", "api-key", "token", "api_token", "secret", "secret_key"];
const SOURCES: [&str; 6] = ["env_var", "env", "file", "credential", "from_env", "key_file"];
const ADDRESSES: [&str; 5] = ["port", "host", "address", "addr", "bind"];

/// Returns the setting that an unknown name in the table at path `table` means, and how it is written.
pub(super) fn find(table: &str, name: &str) -> Option<(&'static str, &'static str)> {
    let lower = name.to_lowercase();
    let (_, _, meant, help) = ROWS.iter().find(|(pattern, names, ..)| {
        names.contains(&lower.as_str()) && matches_path(table, pattern)
    })?;
    Some((meant, help))
}

/// Returns message and help for a value that an earlier version accepted.
pub(super) fn removed_value(path: &str, value: &str) -> Option<(&'static str, &'static str)> {
    (matches_path(path, "routes.*.rescue") && value == "resume").then_some((
        "`resume` was removed from keymux",
        "the nearest value is \"hold\", which sends a stream to the client only when it is complete",
    ))
}

fn matches_path(path: &str, pattern: &str) -> bool {
    let mut rest = path;
    for wanted in pattern.rsplit('.').filter(|wanted| !wanted.is_empty()) {
        let parent = path::parent(rest);
        let last = rest[parent.len()..].trim_start_matches('.');
        if last.is_empty() || (wanted != "*" && wanted != last) {
            return false;
        }
        rest = parent;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_depend_on_the_path_of_the_table() {
        let setting = |table, name| find(table, name).map(|(setting, _)| setting);
        assert_eq!(setting("providers.\"a.b\".keys[3]", "API_KEY"), Some("value"));
        assert_eq!(setting("providers.openai", "api_key"), Some("keys"));
        assert_eq!(setting("clients[0]", "token"), Some("key"));
        assert_eq!(setting("", "value"), Some("providers"));
        assert_eq!(setting("providers", "api_key"), None);
        assert_eq!(setting("providers.openai.keys[0].value", "env"), None);
        assert_eq!(setting("server", "weight"), None);
    }
}
