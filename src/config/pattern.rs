//! Model patterns: `gpt-4o*`, case-insensitive, `*` for any run of characters.

use std::fmt;

/// One pattern of a `models` or `blacklisted_models` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

impl Pattern {
    /// Takes the pattern as written.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// Whether the pattern covers the whole name. Linear in practice: only the last `*` is ever
    /// gone back to.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.text.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            if pattern.get(p) == Some(&b'*') {
                star = Some((p + 1, n));
                p += 1;
            } else if pattern.get(p).is_some_and(|byte| byte.eq_ignore_ascii_case(&name[n])) {
                p += 1;
                n += 1;
            } else if let Some((after, from)) = star {
                star = Some((after, from + 1));
                p = after;
                n = from + 1;
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }

    /// The name as written, when the pattern is one name and not many.
    pub fn exact(&self) -> Option<&str> {
        (!self.text.contains('*')).then_some(self.text.as_str())
    }

    /// Whether the pattern is a bare `*`, which lists nothing in particular.
    pub fn is_any(&self) -> bool {
        self.text.bytes().all(|byte| byte == b'*')
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether one of the patterns covers the name.
pub fn any_matches(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_case() {
        for (pattern, name, covers) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "GPT-4o", true),
            ("GPT-4O*", "gpt-4o-mini", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("*-realtime*", "gpt-4o-realtime-preview", true),
            ("*-realtime*", "gpt-4o", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), covers, "{pattern} on {name}");
        }
    }

    #[test]
    fn many_stars_do_not_blow_up() {
        let pattern = Pattern::new(&"a*".repeat(50));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(49))));
    }
}
