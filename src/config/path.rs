//! Dotted paths of settings: `providers.openai.keys[0].weight`.

/// Returns the path of `name` under `parent`.
pub(super) fn child(parent: &str, name: &str) -> String {
    let plain = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let name = if plain { name.to_owned() } else { format!("\"{}\"", name.escape_debug()) };
    if parent.is_empty() { name } else { format!("{parent}.{name}") }
}

/// Returns the path of an item of a list.
pub(super) fn item(list: &str, index: usize) -> String {
    format!("{list}[{index}]")
}

/// Returns the path without its last name or index; empty at the top.
pub(super) fn parent(path: &str) -> &str {
    &path[..last_part(path)]
}

/// Returns the last name, with its index if it has one: `weight`, `keys[0]`.
pub(super) fn leaf(path: &str) -> &str {
    let mut start = last_part(path);
    if path[start..].starts_with('[') {
        start = last_part(&path[..start]);
    }
    path[start..].trim_start_matches('.')
}

/// Returns the offset of the last name or index, including the dot before a name.
fn last_part(path: &str) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    let mut last = 0;
    for (at, byte) in path.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'.' | b'[' if !quoted => last = at,
            _ => {}
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_split() {
        let key = item(&child(&child("providers", "a.b\"c"), "keys"), 0);
        assert_eq!(key, r#"providers."a.b\"c".keys[0]"#);
        assert_eq!(leaf(&child(&key, "weight")), "weight");
        assert_eq!(leaf(&key), "keys[0]");
        assert_eq!(parent(&key), r#"providers."a.b\"c".keys"#);
        assert_eq!(parent(parent(&key)), r#"providers."a.b\"c""#);
        assert_eq!(leaf(parent(parent(&key))), r#""a.b\"c""#);
        assert_eq!(parent("server"), "");
        assert_eq!(leaf("server"), "server");
    }
}
