//! The access line: one line a request, written when the last byte of its answer has left or its
//! caller has gone.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::log::{Format, Log};

/// All that is told of one request.
#[derive(Debug, Default, Serialize)]
pub struct Line<'a> {
    /// When the line is written.
    pub timestamp: Stamp,
    /// Always `INFO`, as the log's lines have it.
    pub level: Level,
    /// Always `access`, to tell these lines from the log's.
    pub target: Target,
    /// The request's id, as its answer names it.
    pub id: &'a str,
    /// The caller's name; absent when it was not asked for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<&'a str>,
    /// What was asked for, such as `chat`; `none` when it was nothing known.
    pub operation: &'a str,
    /// The model as asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'a str>,
    /// The provider that answered, or was asked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<&'a str>,
    /// The name of its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// Attempts made.
    pub attempts: u32,
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
    /// Until the first byte of the provider's answer.
    #[serde(
        rename = "first_byte_ms",
        serialize_with = "millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub first_byte: Option<Duration>,
    /// Until the last byte of the answer.
    #[serde(rename = "total_ms", serialize_with = "whole_millis")]
    pub total: Duration,
    /// Prompt tokens, as the provider counted them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<u64>,
    /// Prompt tokens read from the provider's cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_cached: Option<u64>,
    /// Answer tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<u64>,
    /// The provider's own id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_id: Option<&'a str>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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

impl Line<'_> {
    /// Writes the line, unless the log's filter leaves out the target `access`.
    pub fn write(&self, log: &Log) {
        if !tracing::enabled!(target: "access", tracing::Level::INFO) {
            return;
        }
        log.line(|out| match log.format() {
            // Strings and numbers: serialising them into memory cannot fail.
            Format::Json => drop(serde_json::to_writer(out, self)),
            Format::Text => drop(self.text(out)),
        });
    }

    fn text(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        write!(out, "{} {} {}", self.timestamp.text(), self.status, self.operation)?;
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
        if let (Some(tokens_in), Some(tokens_out)) = (self.tokens_in, self.tokens_out) {
            write!(out, " tokens={tokens_in}+{tokens_out}")?;
        }
        match self.end {
            End::Complete => Ok(()),
            end => write!(out, " {end:?}"),
        }
    }
}

/// The moment a line is written, in RFC 3339.
#[derive(Debug)]
pub struct Stamp(SystemTime);

impl Default for Stamp {
    fn default() -> Self {
        Self(SystemTime::now())
    }
}

impl Stamp {
    fn text(&self) -> humantime::Rfc3339Timestamp {
        humantime::format_rfc3339_millis(self.0)
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.text())
    }
}

/// The constant `INFO`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// The only one.
    #[default]
    Info,
}

/// The constant `access`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The only one.
    #[default]
    Access,
}

#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn millis<S: Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match span {
        Some(span) => whole_millis(span, serializer),
        None => serializer.serialize_none(),
    }
}

fn whole_millis<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_json_object_without_what_is_unknown() {
        let line = Line { id: "r1", operation: "chat", status: 200, ..Line::default() };
        let value: serde_json::Value =
            serde_json::from_str(&serde_json::to_string(&line).unwrap()).unwrap();
        assert_eq!(value["target"], "access");
        assert_eq!(value["end"], "complete");
        assert!(value["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(value.get("tokens_in").is_none());
    }

    #[test]
    fn a_text_line_stays_one_line_whatever_the_caller_sends() {
        let line = Line { model: Some("a\nb\x1b[31m"), ..Line::default() };
        let mut out = Vec::new();
        line.text(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r"model=a\nb\u{1b}[31m") && !text.contains('\n'), "{text}");
    }
}
