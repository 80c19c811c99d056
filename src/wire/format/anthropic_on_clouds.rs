//! Anthropic's messages where another cloud serves them: the model stands in the path, the version in the
//! body, and Bedrock frames streams and errors in its own way.
//!
//! <https://docs.claude.com/en/api/claude-on-vertex-ai>,
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html>

use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::wire::frame::aws_event_stream::{Frame, Frames};
use crate::wire::inspect::model::Peek;
use crate::wire::json::walk::{Part, Scanner, is_named, members};

const ON_VERTEX: &str = "vertex-2023-10-16";
const ON_BEDROCK: &str = "bedrock-2023-05-31";
/// The longest event that is unpacked; as long as any that is passed on.
const LONGEST: usize = crate::wire::frame::aws_event_stream::LONGEST;

/// A body of messages as Vertex takes it.
pub fn for_vertex(peek: &Peek<'_>, body: &Bytes) -> [Bytes; 3] {
    let version = format!(r#""anthropic_version":"{ON_VERTEX}""#);
    peek.replace_member(body, Bytes::from(version))
}

/// A body of tokens to count as Vertex takes it: there the model stays in it.
pub fn for_counting_on_vertex(peek: &Peek<'_>, body: &Bytes, model: &str) -> [Bytes; 3] {
    let name = serde_json::to_string(model).unwrap_or_default();
    let both = format!(r#""anthropic_version":"{ON_VERTEX}","model":{name}"#);
    peek.replace_member(body, Bytes::from(both))
}

/// A body of messages as Bedrock takes it: without `stream`, which its path says, and with the `betas` of
/// the header in it. All other bytes stay. A body that is no JSON object stays as it is.
pub fn for_bedrock<'h>(body: &[u8], betas: impl Iterator<Item = &'h str>) -> Vec<u8> {
    let betas: Vec<&str> =
        betas.flat_map(|list| list.split(',')).map(str::trim).filter(|b| !b.is_empty()).collect();
    let mut envelope = format!(r#""anthropic_version":"{ON_BEDROCK}""#);
    if !betas.is_empty() {
        envelope.push_str(r#","anthropic_beta":"#);
        envelope.push_str(&serde_json::to_string(&betas).unwrap_or_default());
    }
    let (mut scanner, mut rest) = (Scanner::new(), body);
    let (mut out, mut copied) = (Vec::with_capacity(body.len() + envelope.len()), 0);
    let mut member = None;
    while let Ok(Some(piece)) = scanner.next(&mut rest) {
        match (piece.part, member) {
            (Part::Key, _) => {
                let (model, stream) =
                    (is_named(piece.bytes, "model"), is_named(piece.bytes, "stream"));
                member = (model || stream).then_some((piece.start, model));
            }
            (Part::Value, Some((start, is_model))) => {
                let end = piece.start + piece.bytes.len();
                out.extend_from_slice(&body[copied..start]);
                copied = end;
                if is_model {
                    out.extend_from_slice(envelope.as_bytes());
                } else {
                    copied += comma_behind(&body[end..], &mut out);
                }
                member = None;
            }
            (Part::Value, None) => {}
        }
    }
    out.extend_from_slice(&body[copied..]);
    out
}

/// Takes the comma of a member that is left out: the one behind it, and how many bytes that is; or, of the
/// last member, the one before it.
fn comma_behind(rest: &[u8], before: &mut Vec<u8>) -> usize {
    let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    if rest.get(blank) == Some(&b',') {
        return blank + 1;
    }
    let kept = before.trim_ascii_end().len();
    if before[..kept].ends_with(b",") {
        before.truncate(kept - 1);
    }
    0
}

/// Makes of Bedrock's event stream the server-sent events that Anthropic would have sent.
#[derive(Debug)]
pub struct FromBedrock {
    frames: Frames,
    over: bool,
}

impl Default for FromBedrock {
    fn default() -> Self {
        Self { frames: Frames::new(LONGEST), over: false }
    }
}

impl FromBedrock {
    /// Takes the next bytes, and gives the events that they complete.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let over = &mut self.over;
        self.frames.push(bytes, |frame| {
            if *over {
                return;
            }
            let told = match frame {
                Frame::Event { payload, .. } => match event(payload, out) {
                    Some(()) => return,
                    None => ("", "The provider sent an event that cannot be read.".to_owned()),
                },
                Frame::Exception { kind, payload } => (kind, message_of(payload)),
                Frame::Error { code, message } => (code, message.to_owned()),
                Frame::Broken(_) => ("", "The provider's stream is damaged.".to_owned()),
            };
            *over = true;
            let error = error(status_of(told.0), &told.1);
            // Writing into memory cannot fail.
            let _ = write!(out, "event: error\ndata: {error}\n\n");
        });
    }
}

/// One event out of its envelope: `{"bytes":"BASE64"}`.
fn event(payload: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let [Some([b'"', text @ .., b'"'])] = members(payload, ["bytes"]) else { return None };
    let event = BASE64_STANDARD.decode(text).ok()?;
    let [Some([b'"', kind @ .., b'"'])] = members(&event, ["type"]) else { return None };
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind);
    out.extend_from_slice(b"\ndata: ");
    // Of several lines each would need a `data:` of its own; within JSON a line break is only white space.
    out.extend(event.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    out.extend_from_slice(b"\n\n");
    Some(())
}

fn message_of(payload: &[u8]) -> String {
    let body: Value = serde_json::from_slice(payload).unwrap_or_default();
    let message = ["message", "Message"].iter().find_map(|name| body[*name].as_str());
    message.unwrap_or_default().to_owned()
}

/// The status that stands for an exception within a stream.
fn status_of(exception: &str) -> u16 {
    match exception {
        "throttlingException" => 429,
        "validationException" => 400,
        "serviceUnavailableException" => 529,
        _ => 500,
    }
}

/// An error body of Bedrock's as Anthropic would have written it.
pub fn error_for(status: u16, body: &[u8]) -> Bytes {
    Bytes::from(error(status, &message_of(body)).to_string())
}

/// <https://docs.claude.com/en/api/errors>
fn error(status: u16, message: &str) -> Value {
    let kind = match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": message}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::aws_event_stream::exception;

    fn enveloped(body: &str, betas: &[&str]) -> String {
        let bytes = for_bedrock(body.as_bytes(), betas.iter().copied());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_model_gives_way_to_the_version_and_stream_leaves() {
        let version = r#""anthropic_version":"bedrock-2023-05-31""#;
        for (body, expected) in [
            (r#"{"model":"m","n":1}"#, format!(r#"{{{version},"n":1}}"#)),
            (r#"{"model":"m", "stream": true , "n":1}"#, format!(r#"{{{version},  "n":1}}"#)),
            (r#"{"stream":false,"model":"m"}"#, format!("{{{version}}}")),
            (
                r#"{"a":{"stream":1}, "model":"m" , "stream":true }"#,
                format!(r#"{{"a":{{"stream":1}}, {version}  }}"#),
            ),
            (r#"{"stream":true}"#, "{}".to_owned()),
        ] {
            assert_eq!(enveloped(body, &[]), expected);
        }
        let betas = r#""anthropic_beta":["a-1","b-2","c-3"]"#;
        assert_eq!(
            enveloped(r#"{"model":"m"}"#, &["a-1, b-2", "c-3"]),
            format!("{{{version},{betas}}}")
        );
    }

    #[test]
    fn an_exception_becomes_an_error_event_and_nothing_follows_it() {
        let bytes = [exception("throttlingException", "slow down"), exception("x", "y")].concat();
        let mut out = Vec::new();
        FromBedrock::default().push(&bytes, &mut out);
        let text = String::from_utf8(out).unwrap();
        let data = r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#;
        assert_eq!(text, format!("event: error\ndata: {data}\n\n"));
    }

    #[test]
    fn an_error_is_told_in_anthropics_words() {
        let body = error_for(400, br#"{"message":"max_tokens is missing"}"#);
        let expected = r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens is missing"}}"#;
        assert_eq!(body, expected);
    }
}
