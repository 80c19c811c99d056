//! Anthropic's Messages API on other clouds: the model is in the path, the version in the body, and Bedrock
//! has its own form of streams and errors.
//!
//! <https://docs.claude.com/en/api/claude-on-vertex-ai>,
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html>

use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::Value;

use crate::wire::failure::encode_error;
use crate::wire::frame::aws_event_stream::{Frame, FrameDecoder};
use crate::wire::inspect::model::Peek;
use crate::wire::json::splice::Splice;
use crate::wire::json::walk::{Part, Scanner, is_named, members};

const ON_VERTEX: &str = "vertex-2023-10-16";
const ON_BEDROCK: &str = "bedrock-2023-05-31";
/// The longest event that is decoded, as for streams that pass through.
const LONGEST: usize = crate::wire::frame::aws_event_stream::LONGEST;

/// Rewrites a Messages request for Vertex.
pub fn for_vertex(peek: &Peek<'_>, body: &Bytes) -> [Bytes; 3] {
    let version = format!(r#""anthropic_version":"{ON_VERTEX}""#);
    peek.replace_member(body, Bytes::from(version))
}

/// Rewrites a token counting request for Vertex, whose body keeps the model.
pub fn for_counting_on_vertex(peek: &Peek<'_>, body: &Bytes, model: &str) -> [Bytes; 3] {
    let name = serde_json::to_string(model).unwrap_or_default();
    let both = format!(r#""anthropic_version":"{ON_VERTEX}","model":{name}"#);
    peek.replace_member(body, Bytes::from(both))
}

/// Rewrites a Messages request for Bedrock: removes `stream`, which the path decides, and adds the `betas` of
/// the header to the body. All other bytes stay. A body that is not a JSON object stays as it is.
pub fn for_bedrock<'h>(body: &[u8], betas: impl Iterator<Item = &'h str>) -> Vec<u8> {
    let betas: Vec<&str> =
        betas.flat_map(|list| list.split(',')).map(str::trim).filter(|b| !b.is_empty()).collect();
    let mut added = format!(r#""anthropic_version":"{ON_BEDROCK}""#);
    if !betas.is_empty() {
        added.push_str(r#","anthropic_beta":"#);
        added.push_str(&serde_json::to_string(&betas).unwrap_or_default());
    }
    let (mut scanner, mut rest) = (Scanner::new(), body);
    let mut splice = Splice::new(body, added.len());
    let mut member = None;
    while let Ok(Some(piece)) = scanner.next(&mut rest) {
        match (piece.part, member) {
            (Part::Key, _) => {
                let (model, stream) =
                    (is_named(piece.bytes, "model"), is_named(piece.bytes, "stream"));
                member = (model || stream).then_some((piece.start, model));
            }
            (Part::Value, Some((start, is_model))) => {
                let range = start..piece.start + piece.bytes.len();
                if is_model {
                    splice.replace(range, added.as_bytes());
                } else {
                    splice.remove_member(range);
                }
                member = None;
            }
            (Part::Value, None) => {}
        }
    }
    splice.finish()
}

/// Converts Bedrock's event stream into the server-sent events of Anthropic.
#[derive(Debug)]
pub struct FromBedrock {
    frames: FrameDecoder,
    /// Set after an error: the rest of the stream is ignored.
    failed: bool,
}

impl Default for FromBedrock {
    fn default() -> Self {
        Self { frames: FrameDecoder::new(LONGEST), failed: false }
    }
}

impl FromBedrock {
    /// Decodes the next bytes and appends the events that they complete to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let failed = &mut self.failed;
        self.frames.push(bytes, |frame| {
            if *failed {
                return;
            }
            let (kind, message) = match frame {
                Frame::Event { payload, .. } => match event(payload, out) {
                    Some(()) => return,
                    None => ("", "The provider sent a malformed event.".to_owned()),
                },
                Frame::Exception { kind, payload } => (kind, message_of(payload)),
                Frame::Error { code, message } => (code, message.to_owned()),
                Frame::Malformed(_) => ("", "The provider's stream is malformed.".to_owned()),
            };
            *failed = true;
            let error = encode_error::anthropic(status_of(kind), &message, None);
            // Writing into memory cannot fail.
            let _ = write!(out, "event: error\ndata: {error}\n\n");
        });
    }
}

/// Decodes one event from `{"bytes":"BASE64"}`; `None` if it is malformed.
fn event(payload: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let [Some([b'"', text @ .., b'"'])] = members(payload, ["bytes"]) else { return None };
    let event = BASE64_STANDARD.decode(text).ok()?;
    let [Some([b'"', kind @ .., b'"'])] = members(&event, ["type"]) else { return None };
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind);
    out.extend_from_slice(b"\ndata: ");
    // Each of several lines would need its own `data:`; in JSON a line break is only white space.
    out.extend(event.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    out.extend_from_slice(b"\n\n");
    Some(())
}

fn message_of(payload: &[u8]) -> String {
    let body: Value = serde_json::from_slice(payload).unwrap_or_default();
    let message = ["message", "Message"].iter().find_map(|name| body[*name].as_str());
    message.unwrap_or_default().to_owned()
}

/// Returns the status that corresponds to an exception inside a stream.
fn status_of(exception: &str) -> u16 {
    match exception {
        "throttlingException" => 429,
        "validationException" => 400,
        "serviceUnavailableException" => 529,
        _ => 500,
    }
}

/// Converts an error body of Bedrock into Anthropic's form.
pub fn error_for(status: u16, body: &[u8]) -> Bytes {
    Bytes::from(encode_error::anthropic(status, &message_of(body), None).to_string())
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
    fn an_error_body_has_the_form_of_anthropic() {
        let body = error_for(400, br#"{"message":"max_tokens is missing"}"#);
        let expected = r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens is missing"}}"#;
        assert_eq!(body, expected);
    }
}
