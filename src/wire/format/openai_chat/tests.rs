//! Small cases of both halves of the format; recorded exchanges are in tests/translate_openai_chat.rs.

use serde_json::{Value, json};

use super::*;
use crate::wire::api::{Format, Framing};
use crate::wire::format::context::ResponseContext;
use crate::wire::format::quirks;
use crate::wire::format::quirks::Quirks;
use crate::wire::frame::Frame;
use crate::wire::ir::{Event, Kind, Piece, Response, Stop};
use crate::wire::translate::{Encoded, encode_request as encode};

mod answers;
mod requests;

fn decode(chunks: &[Value]) -> Vec<Event> {
    let mut decoder = Decoder::new(&quirks::PLAIN);
    let mut out = Vec::new();
    for chunk in chunks {
        let data = chunk.to_string();
        decoder.frame(Frame::Event { name: b"", data: data.as_bytes() }, &mut out);
    }
    decoder.frame(Frame::Event { name: b"", data: b"[DONE]" }, &mut out);
    out
}

fn delta(delta: &Value) -> Value {
    json!({ "id": "x", "choices": [{ "index": 0, "delta": delta }] })
}

fn finish(word: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": word }] })
}

fn context(usage: bool) -> ResponseContext {
    ResponseContext {
        id: "1".to_owned(),
        created: 7,
        model: "m".to_owned(),
        usage,
        framing: Framing::Events,
        echo: None,
    }
}

fn encode_for(body: &Value, quirks: &Quirks) -> (Value, Encoded) {
    let request = decode_request(body.to_string().as_bytes()).unwrap();
    let encoded = encode(Format::OpenAiChat, Format::OpenAiChat, &request, quirks).unwrap();
    (serde_json::from_slice(&encoded.body).unwrap(), encoded)
}

fn refused_at(body: &Value, quirks: &Quirks) -> String {
    let request = decode_request(body.to_string().as_bytes()).unwrap();
    encode(Format::OpenAiChat, Format::OpenAiChat, &request, quirks).unwrap_err().at
}
