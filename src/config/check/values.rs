//! Parses and checks texts: durations, sizes, URLs, patterns, names.

use std::time::Duration;

use http::Uri;

use super::report::Check;
use crate::config::Endpoint;
use crate::config::file::{Period, Size};
use crate::config::path::{item, leaf};
use crate::config::pattern::Pattern;

impl Check<'_, '_> {
    /// Parses a duration; zero is allowed.
    pub(super) fn period(&mut self, path: &str, written: &Period) -> Duration {
        const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
        match parse_duration(&written.0) {
            Some(period) if period <= LONGEST => return period,
            Some(_) => self.error(path, format!("`{}` is longer than a year", leaf(path)), None),
            None => self.error(
                path,
                format!("`{}` is not a duration", leaf(path)),
                "write a number and a unit: \"250ms\", \"30s\", \"2m\", \"1h\"",
            ),
        }
        Duration::ZERO
    }

    /// Parses a duration that must not be zero.
    pub(super) fn positive_period(&mut self, path: &str, written: &Period) -> Duration {
        if parse_duration(&written.0) == Some(Duration::ZERO) {
            self.error(path, format!("`{}` must be more than 0", leaf(path)), None);
        }
        self.period(path, written)
    }

    /// Parses a number of bytes, at least one.
    pub(super) fn size(&mut self, path: &str, written: &Size) -> usize {
        match parse_size(&written.0) {
            Some(0) => self.error(path, format!("`{}` must be more than 0", leaf(path)), None),
            Some(size) => return size,
            None => self.error(
                path,
                format!("`{}` is not a size", leaf(path)),
                "write a whole number and a unit: \"512KiB\", \"10MB\", \"32MiB\", \"1GiB\"",
            ),
        }
        1
    }

    /// Parses patterns of model names.
    pub(super) fn patterns(&mut self, path: &str, written: &[String]) -> Vec<Pattern> {
        for (index, pattern) in written.iter().enumerate() {
            if pattern.trim().is_empty() {
                self.error(
                    &item(path, index),
                    "this is not a model name",
                    "write a name, or a pattern such as \"gpt-4o*\"",
                );
            }
        }
        written.iter().map(|pattern| Pattern::new(pattern)).collect()
    }

    /// Parses a list of allowed models. An empty list is an error, because it would allow nothing.
    pub(super) fn allowed_models(
        &mut self,
        path: &str,
        written: Option<&[String]>,
    ) -> Option<Vec<Pattern>> {
        let written = written?;
        if written.is_empty() {
            self.error(
                path,
                "`models` is an empty list, which would allow no model",
                "remove it to allow every model, or write enabled = false",
            );
        }
        Some(self.patterns(path, written))
    }

    /// Parses the base URL of a provider, and appends `suffix` to its path.
    pub(super) fn endpoint(&mut self, path: &str, written: &str, suffix: &str) -> Option<Endpoint> {
        let name = leaf(path);
        let example = "for example \"https://api.example.com/v1\"";
        if written.contains(['?', '#']) {
            self.error(
                path,
                format!("`{name}` must not have a query or a fragment"),
                "keep the part before the `?` or `#`",
            );
            return None;
        }
        if !written.starts_with("http://") && !written.starts_with("https://") {
            self.error(path, format!("`{name}` must begin with http:// or https://"), example);
            return None;
        }
        let Ok(uri) = written.parse::<Uri>() else {
            self.error(path, format!("`{name}` is not a valid URL"), example);
            return None;
        };
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            self.error(path, format!("`{name}` has no host"), example);
            return None;
        };
        if authority.as_str().contains('@') {
            self.error(
                path,
                format!("`{name}` must not contain a user name or a password"),
                "write credentials in the `value` of a key or in `headers`",
            );
            return None;
        }
        let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        if authority.host().is_empty() || (!port.is_empty() && authority.port_u16().is_none()) {
            self.error(path, format!("`{name}` has no host or an invalid port"), example);
            return None;
        }
        let prefix = parts
            .path_and_query
            .map_or(String::new(), |path| path.path().trim_end_matches('/').to_owned());
        Some(Endpoint { scheme, authority, prefix: prefix + suffix })
    }

    /// Checks a name that appears in headers, logs and metrics.
    pub(super) fn check_name(&mut self, path: &str, what: &str, name: &str) {
        if name.is_empty()
            || name.len() > 100
            || !name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
            || name.trim() != name
        {
            self.error(
                path,
                format!("this is not a valid name for a {what}"),
                "a name has 1 to 100 printable ASCII characters, and no space at its ends",
            );
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let unit = text.find(|char: char| char.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = number.parse().ok().filter(|_| is_plain)?;
    // Whole microseconds, so that 0.1 s is 100 ms to the last digit.
    let micros = Duration::try_from_secs_f64(number * seconds).ok()?.as_nanos() + 500;
    Some(Duration::from_micros(u64::try_from(micros / 1000).ok()?))
}

fn parse_size(text: &str) -> Option<usize> {
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
    let is_whole = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<usize>().ok().filter(|_| is_whole)?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_unit() {
        for (text, millis) in [
            ("250ms", 250),
            ("120s", 120_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("0.1s", 100),
            ("1.5m", 90_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5", "5 s", "-5s", "5sec", "1e3s", "infs", "nans", "5s5s", "1..2s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_need_a_whole_number_and_a_unit() {
        assert_eq!(parse_size("32MiB"), Some(32 << 20));
        assert_eq!(parse_size("4kB"), Some(4000));
        for text in ["", "MiB", "1.5MiB", "-1B", "+1B", "10", "10M", "99999999999999999999GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
