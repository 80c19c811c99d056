//! Texts that stand for something else: lengths of time, sizes, addresses, patterns, names.

use std::time::Duration;

use http::Uri;

use super::Check;
use crate::config::Endpoint;
use crate::config::file::{Period, Size};
use crate::config::path::{item, leaf};
use crate::config::pattern::Pattern;

impl Check<'_, '_> {
    /// A length of time, zero included.
    pub(super) fn period(&mut self, path: &str, written: &Period) -> Duration {
        const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
        match duration(&written.0) {
            Some(period) if period <= LONGEST => return period,
            Some(_) => self.error(path, format!("`{}` is longer than a year", leaf(path)), None),
            None => self.error(
                path,
                format!("`{}` is not a length of time", leaf(path)),
                "a number and its unit: \"250ms\", \"30s\", \"2m\", \"1h\"",
            ),
        }
        Duration::ZERO
    }

    /// A length of time that is not zero.
    pub(super) fn some_period(&mut self, path: &str, written: &Period) -> Duration {
        if duration(&written.0) == Some(Duration::ZERO) {
            self.error(path, format!("`{}` must be more than 0", leaf(path)), None);
        }
        self.period(path, written)
    }

    /// A number of bytes, at least one.
    pub(super) fn size(&mut self, path: &str, written: &Size) -> usize {
        match bytes(&written.0) {
            Some(0) => self.error(path, format!("`{}` must be more than 0", leaf(path)), None),
            Some(size) => return size,
            None => self.error(
                path,
                format!("`{}` is not a size", leaf(path)),
                "a whole number and its unit: \"512KiB\", \"10MB\", \"32MiB\", \"1GiB\"",
            ),
        }
        1
    }

    /// Patterns of model names.
    pub(super) fn patterns(&mut self, path: &str, written: &[String]) -> Vec<Pattern> {
        for (place, pattern) in written.iter().enumerate() {
            if pattern.trim().is_empty() {
                self.error(
                    &item(path, place),
                    "this is no model name",
                    "a name or a pattern such as \"gpt-4o*\"",
                );
            }
        }
        written.iter().map(|pattern| Pattern::new(pattern)).collect()
    }

    /// A list of allowed models, where an empty list is most likely not meant.
    pub(super) fn allowed(
        &mut self,
        path: &str,
        written: Option<&[String]>,
    ) -> Option<Vec<Pattern>> {
        let written = written?;
        if written.is_empty() {
            self.error(
                path,
                "`models` is an empty list, which would allow no model at all",
                "remove it to allow every model, or write enabled = false",
            );
        }
        Some(self.patterns(path, written))
    }

    /// An address that requests go to. `suffix` follows the path it has.
    pub(super) fn endpoint(&mut self, path: &str, written: &str, suffix: &str) -> Option<Endpoint> {
        let name = leaf(path);
        let example = "for example \"https://api.example.com/v1\"";
        if written.contains(['?', '#']) {
            self.error(
                path,
                format!("`{name}` must not have a query or a fragment"),
                "keep what stands before the `?` or `#`",
            );
            return None;
        }
        if !written.starts_with("http://") && !written.starts_with("https://") {
            self.error(path, format!("`{name}` must begin with http:// or https://"), example);
            return None;
        }
        let Ok(uri) = written.parse::<Uri>() else {
            self.error(path, format!("`{name}` is not an address"), example);
            return None;
        };
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            self.error(path, format!("`{name}` names no host"), example);
            return None;
        };
        if authority.as_str().contains('@') {
            self.error(
                path,
                format!("`{name}` must not hold a user name or a password"),
                "credentials go into the key's `value` or into `headers`",
            );
            return None;
        }
        let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        if authority.host().is_empty() || (!port.is_empty() && authority.port_u16().is_none()) {
            self.error(path, format!("`{name}` names no host, or no port that there is"), example);
            return None;
        }
        let own = parts
            .path_and_query
            .map_or(String::new(), |path| path.path().trim_end_matches('/').to_owned());
        Some(Endpoint { scheme, authority, prefix: own + suffix })
    }

    /// Names that stand in headers, logs and metrics.
    pub(super) fn name(&mut self, path: &str, what: &str, name: &str) {
        if name.is_empty()
            || name.len() > 100
            || !name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
            || name.trim() != name
        {
            self.error(
                path,
                format!("this is no name for a {what}"),
                "a name has 1 to 100 letters, digits, signs and inner spaces of ASCII",
            );
        }
    }
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|char: char| char.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = number.parse().ok().filter(|_| plain)?;
    // Whole microseconds, so that 0.1 s is 100 ms to the last digit.
    let micros = Duration::try_from_secs_f64(number * seconds).ok()?.as_nanos() + 500;
    Some(Duration::from_micros(u64::try_from(micros / 1000).ok()?))
}

fn bytes(text: &str) -> Option<usize> {
    let unit = text.find(|char: char| char.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let factor: usize = match unit {
        "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<usize>().ok().filter(|_| digits)?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (text, millis) in [
            ("250ms", 250),
            ("120s", 120_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("0.1s", 100),
            ("1.5m", 90_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5", "5 s", "-5s", "5sec", "1e3s", "infs", "nans", "5s5s", "1..2s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("32MiB"), Some(32 << 20));
        assert_eq!(bytes("4kB"), Some(4000));
        for text in ["", "MiB", "1.5MiB", "-1B", "+1B", "10", "10M", "99999999999999999999GiB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
