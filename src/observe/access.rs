//! The access line: one line a request, written when the last byte of its answer has left or its
//! caller has gone.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use super::log::{Format, Log};

/// All that is told of one request. What is `None` is left out of the line.
#[derive(Debug, Default)]
pub struct AccessLine<'a> {
    /// The request's id, as its answer names it.
    pub id: &'a str,
    /// The caller's name; absent when it was not asked for one.
    pub client: Option<&'a str>,
    /// What was asked for, such as `chat`; `none` when it was nothing known.
    pub operation: &'a str,
    /// The model as asked for.
    pub model: Option<&'a str>,
    /// The provider that answered, or was asked last.
    pub provider: Option<&'a str>,
    /// The name of its key.
    pub key: Option<&'a str>,
    /// Attempts made.
    pub attempts: u32,
    /// Broken streams that another attempt has taken over; left out when there was none.
    pub rescued: u32,
    /// Status of the answer; 0: the caller left before there was one.
    pub status: u16,
    /// How it ended.
    pub end: End,
    /// Whether the answer was an event stream.
    pub stream: bool,
    /// Bytes of the caller's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// Until the first byte of the provider's answer; `first_byte_ms` in JSON.
    pub first_byte: Option<Duration>,
    /// Until the last byte of the answer; `total_ms` in JSON.
    pub total: Duration,
    /// Prompt tokens, as the provider counted them.
    pub tokens_in: Option<u64>,
    /// Prompt tokens read from the provider's cache.
    pub tokens_cached: Option<u64>,
    /// Answer tokens.
    pub tokens_out: Option<u64>,
    /// The provider's own id of the request.
    pub upstream_id: Option<&'a str>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// The answer left whole.
    #[default]
    Complete,
    /// keymux answered itself, without or instead of a provider's answer.
    Refused,
    /// The provider's answer broke off.
    Cut,
    /// The caller went away first.
    CallerGone,
    /// keymux stopped before the answer was whole.
    Stopped,
}

impl End {
    /// The name in the line.
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
    /// Writes the line, unless the log's filter leaves out the target `access`.
    pub fn write(&self, log: &Log) {
        if !tracing::enabled!(target: "access", tracing::Level::INFO) {
            return;
        }
        log.line(|out| match log.format() {
            Format::Json => self.json(out),
            // Writing into memory cannot fail.
            Format::Text => drop(self.text(out)),
        });
    }

    /// By hand: a derived serialiser looks at every byte of every name for something to escape, and
    /// takes three times as long.
    fn json(&self, out: &mut Vec<u8>) {
        let _ = write!(out, r#"{{"timestamp":"{}","level":"INFO","target":"access""#, now());
        word(out, "id", self.id);
        text(out, "client", self.client);
        word(out, "operation", self.operation);
        text(out, "model", self.model);
        text(out, "provider", self.provider);
        text(out, "key", self.key);
        number(out, "attempts", Some(u64::from(self.attempts)));
        number(out, "rescued", (self.rescued > 0).then(|| u64::from(self.rescued)));
        number(out, "status", Some(u64::from(self.status)));
        word(out, "end", self.end.name());
        name(out, "stream");
        out.extend_from_slice(if self.stream { b"true" } else { b"false" });
        number(out, "bytes_in", Some(self.bytes_in));
        number(out, "bytes_out", Some(self.bytes_out));
        number(out, "first_byte_ms", self.first_byte.map(millis));
        number(out, "total_ms", Some(millis(self.total)));
        number(out, "tokens_in", self.tokens_in);
        number(out, "tokens_cached", self.tokens_cached);
        number(out, "tokens_out", self.tokens_out);
        text(out, "upstream_id", self.upstream_id);
        out.push(b'}');
    }

    fn text(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        write!(out, "{} {} {}", now(), self.status, self.operation)?;
        for (name, value) in [
            ("model", self.model),
            ("provider", self.provider),
            ("key", self.key),
            ("client", self.client),
        ] {
            if let Some(value) = value {
                // Names come from the caller: a line stays one line and a terminal unharmed.
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

/// A member's name; none of ours holds a character to escape.
#[inline]
fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A word of our own, which holds nothing to escape either.
fn word(out: &mut Vec<u8>, key: &str, value: &str) {
    name(out, key);
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn text(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    if value.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        return word(out, key, value);
    }
    name(out, key);
    // A string into memory: this cannot fail.
    let _ = serde_json::to_writer(out, value);
}

fn number(out: &mut Vec<u8>, key: &str, value: Option<u64>) {
    let Some(value) = value else { return };
    name(out, key);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(line: &AccessLine<'_>) -> serde_json::Value {
        let mut out = Vec::new();
        line.json(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_line_is_one_json_object_without_what_is_unknown() {
        let line =
            json(&AccessLine { id: "r1", operation: "chat", status: 200, ..AccessLine::default() });
        assert_eq!(line["target"], "access");
        assert_eq!(line["end"], "complete");
        assert_eq!(line["status"], 200);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(line.get("tokens_in").is_none());
    }

    #[test]
    fn a_json_line_holds_whatever_a_caller_sends() {
        for model in ["a\"b", "a\\b", "a\nb\u{1}", "\u{4e2d}", ""] {
            assert_eq!(
                json(&AccessLine { model: Some(model), ..AccessLine::default() })["model"],
                model
            );
        }
    }

    #[test]
    fn a_text_line_stays_one_line_whatever_the_caller_sends() {
        let line = AccessLine { model: Some("a\nb\x1b[31m"), ..AccessLine::default() };
        let mut out = Vec::new();
        line.text(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r"model=a\nb\u{1b}[31m") && !text.contains('\n'), "{text}");
    }
}
