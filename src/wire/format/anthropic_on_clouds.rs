//! Anthropic's Messages API as other clouds serve it: the model is in the path, the version is in the body, and
//! Bedrock frames streams and errors in its own way.
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

const VERTEX_VERSION: &str = "vertex-2023-10-16";
const BEDROCK_VERSION: &str = "bedrock-2023-05-31";
/// The longest event that is unwrapped; as long as any that is passed on.
const MAX_EVENT_LEN: usize = crate::wire::frame::aws_event_stream::LONGEST;

/// Rewrites the body of a messages request for Vertex.
pub fn for_vertex(peek: &Peek<'_>, body: &Bytes) -> [Bytes; 3] {
    let version = format!(r#""anthropic_version":"{VERTEX_VERSION}""#);
    peek.replace_member(body, Bytes::from(version))
}

/// Rewrites the body of a request to count tokens for Vertex: there the model stays in the body.
pub fn for_counting_on_vertex(peek: &Peek<'_>, body: &Bytes, model: &str) -> [Bytes; 3] {
    let name = serde_json::to_string(model).unwrap_or_default();
    let members = format!(r#""anthropic_version":"{VERTEX_VERSION}","model":{name}"#);
    peek.replace_member(body, Bytes::from(members))
}

/// Rewrites the body of a messages request for Bedrock: without `stream`, which is in the path, and with the
/// `betas` of the header. All other bytes stay, as does a body that is not a JSON object.
pub fn for_bedrock<'h>(body: &[u8], betas: impl Iterator<Item = &'h str>) -> Vec<u8> {
    let betas: Vec<&str> =
        betas.flat_map(|list| list.split(',')).map(str::trim).filter(|b| !b.is_empty()).collect();
    let mut added = format!(r#""anthropic_version":"{BEDROCK_VERSION}""#);
    if !betas.is_empty() {
        added.push_str(r#","anthropic_beta":"#);
        added.push_str(&serde_json::to_string(&betas).unwrap_or_default());
    }
    let (mut scanner, mut rest) = (Scanner::new(), body);
    let (mut out, mut copied) = (Vec::with_capacity(body.len() + added.len()), 0);
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
                    out.extend_from_slice(added.as_bytes());
                } else {
                    copied += remove_comma(&body[end..], &mut out);
                }
                member = None;
            }
            (Part::Value, None) => {}
        }
    }
    out.extend_from_slice(&body[copied..]);
    out
}

/// Removes the comma of a member that is left out: returns how many bytes of `rest` end with the comma after it, or
/// for the last member removes the comma before it.
fn remove_comma(rest: &[u8], before: &mut Vec<u8>) -> usize {
    let white_space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    if rest.get(white_space) == Some(&b',') {
        return white_space + 1;
    }
    let kept = before.trim_ascii_end().len();
    if before[..kept].ends_with(b",") {
        before.truncate(kept - 1);
    }
    0
}

/// Rewrites Bedrock's event stream to the server-sent events that Anthropic would have sent.
#[derive(Debug)]
pub struct FromBedrock {
    frames: Frames,
    is_over: bool,
}

impl Default for FromBedrock {
    fn default() -> Self {
        Self { frames: Frames::new(MAX_EVENT_LEN), is_over: false }
    }
}

impl FromBedrock {
    /// Takes the next bytes and writes the events that they complete.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let is_over = &mut self.is_over;
        self.frames.push(bytes, |frame| {
            if *is_over {
                return;
            }
            let (code, message) = match frame {
                Frame::Event { payload, .. } => match unwrap_event(payload, out) {
                    Some(()) => return,
                    None => ("", "The provider sent an event that cannot be read.".to_owned()),
                },
                Frame::Exception { kind, payload } => (kind, message_of(payload)),
                Frame::Error { code, message } => (code, message.to_owned()),
                Frame::Broken(_) => ("", "The provider's stream is damaged.".to_owned()),
            };
            *is_over = true;
            let error = error(status_of(code), &message);
            // Writing into memory cannot fail.
            let _ = write!(out, "event: error\ndata: {error}\n\n");
        });
    }
}

/// Writes the event that is in `{"bytes":"BASE64"}`.
fn unwrap_event(payload: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let [Some([b'"', text @ .., b'"'])] = members(payload, ["bytes"]) else { return None };
    let event = BASE64_STANDARD.decode(text).ok()?;
    let [Some([b'"', kind @ .., b'"'])] = members(&event, ["type"]) else { return None };
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind);
    out.extend_from_slice(b"\ndata: ");
    // Each of several lines would need its own `data:`; within JSON a line break is only white space.
    out.extend(event.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    out.extend_from_slice(b"\n\n");
    Some(())
}

fn message_of(payload: &[u8]) -> String {
    let body: Value = serde_json::from_slice(payload).unwrap_or_default();
    let message = ["message", "Message"].iter().find_map(|name| body[*name].as_str());
    message.unwrap_or_default().to_owned()
}

/// Returns the status that corresponds to an exception within a stream.
fn status_of(exception: &str) -> u16 {
    match exception {
        "throttlingException" => 429,
        "validationException" => 400,
        "serviceUnavailableException" => 529,
        _ => 500,
    }
}

/// Rewrites an error body of Bedrock to what Anthropic would have sent.
pub fn error_for(status: u16, body: &[u8]) -> Bytes {
    Bytes::from(error(status, &message_of(body)).to_string())
}

/// Returns the error body of Anthropic's API for a status: <https://docs.claude.com/en/api/errors>.
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

    fn rewritten(body: &str, betas: &[&str]) -> String {
        let bytes = for_bedrock(body.as_bytes(), betas.iter().copied());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_version_replaces_the_model_and_stream_is_removed() {
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
            assert_eq!(rewritten(body, &[]), expected);
        }
        let betas = r#""anthropic_beta":["a-1","b-2","c-3"]"#;
        assert_eq!(
            rewritten(r#"{"model":"m"}"#, &["a-1, b-2", "c-3"]),
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
    fn an_error_body_gets_the_form_of_anthropics() {
        let body = error_for(400, br#"{"message":"max_tokens is missing"}"#);
        let expected = r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens is missing"}}"#;
        assert_eq!(body, expected);
    }
}
