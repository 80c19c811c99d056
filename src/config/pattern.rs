//! Model patterns such as `gpt-4o*`: case-insensitive, `*` matches any number of characters.

use std::fmt;

/// One pattern of a `models` or `blacklisted_models` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

impl Pattern {
    /// Takes the pattern as the file writes it.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// True if the pattern matches the whole name. Linear in practice, because it backtracks to the last
    /// `*` only.
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

    /// Returns the name if the pattern has no `*`.
    pub fn exact(&self) -> Option<&str> {
        (!self.text.contains('*')).then_some(self.text.as_str())
    }

    /// True if the pattern is just `*`, which matches every name and lists none.
    pub fn is_any(&self) -> bool {
        self.text.bytes().all(|byte| byte == b'*')
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// True if one of the patterns matches the name.
pub fn any_matches(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_stars_and_ignore_case() {
        for (pattern, name, expected) in [
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
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn many_stars_take_linear_time() {
        let pattern = Pattern::new(&"a*".repeat(50));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(49))));
    }
}
