//! Dotted paths of settings: `providers.openai.keys[0].weight`.

/// The path of `name` under `parent`.
pub(super) fn child(parent: &str, name: &str) -> String {
    let plain = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let name = if plain { name.to_owned() } else { format!("\"{}\"", name.escape_debug()) };
    if parent.is_empty() { name } else { format!("{parent}.{name}") }
}

/// The path of an item of a list.
pub(super) fn item(list: &str, place: usize) -> String {
    format!("{list}[{place}]")
}

/// The path without its last name or index; empty at the top.
pub(super) fn parent(path: &str) -> &str {
    &path[..split(path)]
}

/// The last name, with its index if it has one: `weight`, `keys[0]`.
pub(super) fn leaf(path: &str) -> &str {
    let mut start = split(path);
    if path[start..].starts_with('[') {
        start = split(&path[..start]);
    }
    path[start..].trim_start_matches('.')
}

/// Where the last name or index begins, the dot before a name included.
fn split(path: &str) -> usize {
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
    fn names_are_joined_and_taken_apart() {
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
