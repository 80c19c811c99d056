//! The access log: one line per request, written when the last byte of its answer is sent or the caller
//! has disconnected.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use super::log::{Format, Log};

/// The fields of one line. A `None` is omitted.
#[derive(Debug, Default)]
pub struct AccessLine<'a> {
    /// The id of the request, as in the `x-keymux-request-id` header of the answer.
    pub id: &'a str,
    /// The name of the client; `None` if no clients are configured or the request was not authenticated.
    pub client: Option<&'a str>,
    /// The operation, such as `chat`; `none` if the path is unknown.
    pub operation: &'a str,
    /// The model in the request.
    pub model: Option<&'a str>,
    /// The provider that answered, or that the last attempt used.
    pub provider: Option<&'a str>,
    /// The name of the key.
    pub key: Option<&'a str>,
    /// Number of attempts.
    pub attempts: u32,
    /// Broken streams that another attempt has continued; omitted if zero.
    pub rescued: u32,
    /// Status of the answer; 0 if the caller disconnected before there was one.
    pub status: u16,
    /// How the request ended.
    pub end: End,
    /// True if the answer was an event stream.
    pub stream: bool,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// Time to the first byte of the provider's answer; `first_byte_ms` in JSON.
    pub first_byte: Option<Duration>,
    /// Time to the last byte of the answer; `total_ms` in JSON.
    pub total: Duration,
    /// Input tokens, as counted by the provider.
    pub tokens_in: Option<u64>,
    /// Input tokens read from the prompt cache of the provider.
    pub tokens_cached: Option<u64>,
    /// Output tokens, as counted by the provider.
    pub tokens_out: Option<u64>,
    /// The provider's id of the request.
    pub upstream_id: Option<&'a str>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// The whole answer was sent.
    #[default]
    Complete,
    /// keymux sent its own answer, without or instead of a provider's answer.
    Refused,
    /// The provider's answer ended early.
    Cut,
    /// The caller disconnected first.
    CallerGone,
    /// keymux stopped before the whole answer was sent.
    Stopped,
}

impl End {
    /// Returns the name in the log.
    pub fn name(self) -> &'static str {
        match self {
            End::Complete => "complete",
            End::Refused => "refused",
            End::Cut => "cut",
            End::CallerGone => "caller_gone",
            End::Stopped => "stopped",
        }
    }
}

impl AccessLine<'_> {
    /// Writes the line, unless the filter of the log excludes the target `access`.
    pub fn write(&self, log: &Log) {
        if !tracing::enabled!(target: "access", tracing::Level::INFO) {
            return;
        }
        log.line(|out| match log.format() {
            Format::Json => self.write_json(out),
            // Writing to memory cannot fail.
            Format::Text => drop(self.write_text(out)),
        });
    }

    /// Written by hand: a derived serializer searches every byte of every name for characters to escape,
    /// and takes three times as long.
    fn write_json(&self, out: &mut Vec<u8>) {
        let _ = write!(out, r#"{{"timestamp":"{}","level":"INFO","target":"access""#, now());
        plain_text(out, "id", self.id);
        optional_text(out, "client", self.client);
        plain_text(out, "operation", self.operation);
        optional_text(out, "model", self.model);
        optional_text(out, "provider", self.provider);
        optional_text(out, "key", self.key);
        optional_number(out, "attempts", Some(u64::from(self.attempts)));
        optional_number(out, "rescued", (self.rescued > 0).then(|| u64::from(self.rescued)));
        optional_number(out, "status", Some(u64::from(self.status)));
        plain_text(out, "end", self.end.name());
        member_name(out, "stream");
        out.extend_from_slice(if self.stream { b"true" } else { b"false" });
        optional_number(out, "bytes_in", Some(self.bytes_in));
        optional_number(out, "bytes_out", Some(self.bytes_out));
        optional_number(out, "first_byte_ms", self.first_byte.map(millis));
        optional_number(out, "total_ms", Some(millis(self.total)));
        optional_number(out, "tokens_in", self.tokens_in);
        optional_number(out, "tokens_cached", self.tokens_cached);
        optional_number(out, "tokens_out", self.tokens_out);
        optional_text(out, "upstream_id", self.upstream_id);
        out.push(b'}');
    }

    fn write_text(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        write!(out, "{} {} {}", now(), self.status, self.operation)?;
        for (name, value) in [
            ("model", self.model),
            ("provider", self.provider),
            ("key", self.key),
            ("client", self.client),
        ] {
            if let Some(value) = value {
                // The caller chooses some of these values: escape line breaks and terminal codes.
                write!(out, " {name}={}", value.escape_debug())?;
            }
        }
        write!(out, " attempts={} {}ms", self.attempts, self.total.as_millis())?;
        if self.rescued > 0 {
            write!(out, " rescued={}", self.rescued)?;
        }
        if let (Some(tokens_in), Some(tokens_out)) = (self.tokens_in, self.tokens_out) {
            write!(out, " tokens={tokens_in}+{tokens_out}")?;
        }
        match self.end {
            End::Complete => Ok(()),
            end => write!(out, " {}", end.name()),
        }
    }
}

fn now() -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_millis(SystemTime::now())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Writes a member name. No name of this file contains a character to escape.
#[inline]
fn member_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Writes a member whose value contains no character to escape.
fn plain_text(out: &mut Vec<u8>, key: &str, value: &str) {
    member_name(out, key);
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn optional_text(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    if value.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        return plain_text(out, key, value);
    }
    member_name(out, key);
    // Writing a string to memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}

fn optional_number(out: &mut Vec<u8>, key: &str, value: Option<u64>) {
    let Some(value) = value else { return };
    member_name(out, key);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(line: &AccessLine<'_>) -> serde_json::Value {
        let mut out = Vec::new();
        line.write_json(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_line_is_one_json_object_without_unknown_fields() {
        let line =
            json(&AccessLine { id: "r1", operation: "chat", status: 200, ..AccessLine::default() });
        assert_eq!(line["target"], "access");
        assert_eq!(line["end"], "complete");
        assert_eq!(line["status"], 200);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(line.get("tokens_in").is_none());
    }

    #[test]
    fn a_json_line_escapes_the_text_of_the_caller() {
        for model in ["a\"b", "a\\b", "a\nb\u{1}", "\u{4e2d}", ""] {
            assert_eq!(
                json(&AccessLine { model: Some(model), ..AccessLine::default() })["model"],
                model
            );
        }
    }

    #[test]
    fn a_text_line_escapes_the_text_of_the_caller() {
        let line = AccessLine { model: Some("a\nb\x1b[31m"), ..AccessLine::default() };
        let mut out = Vec::new();
        line.write_text(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r"model=a\nb\u{1b}[31m") && !text.contains('\n'), "{text}");
    }
}
