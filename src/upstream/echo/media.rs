//! Speech, transcripts and images.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Ask, EVENTS, Refusal, Reply, count, data, named, pieces};
use crate::wire::api::Operation;
use crate::wire::inspect::multipart::{Field, Fields};

/// Reads a form into its text fields, and gives name and size of its first file. The boundary is taken
/// from the form's first line: whoever calls has no other use for the content type.
pub(super) fn read_form(
    body: &[u8],
    fields: &mut Map<String, Value>,
) -> Result<Option<(String, usize)>, Refusal> {
    let line = body.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let boundary = std::str::from_utf8(&line[2..]).unwrap_or_default().trim_end();
    let mut file = None;
    for field in Fields::new(body, boundary) {
        let field = field.map_err(|error| Refusal::of_param(None, error.to_string()))?;
        match field {
            Field { file_name: Some(name), value, .. } if file.is_none() => {
                file = Some((name.to_owned(), value.len()));
            }
            Field { name: Some(name), value, file_name: None, .. } => {
                let value = String::from_utf8_lossy(value).into_owned();
                fields.insert(name.to_owned(), Value::String(value));
            }
            _ => {}
        }
    }
    Ok(file)
}

pub(super) fn transcript(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let (name, size) = ask.file.as_ref().ok_or_else(|| {
        Refusal::of_param(Some("file"), "Missing required parameter: 'file', in a form.")
    })?;
    let text = format!("{name}, {size} bytes");
    let usage = json!({
        "type": "tokens",
        "input_tokens": 1,
        "input_token_details": { "text_tokens": 0, "audio_tokens": 1 },
        "output_tokens": count(&text),
        "total_tokens": 1 + count(&text),
    });
    if ask.stream() {
        let delta =
            |piece: &&str| named(&json!({ "type": "transcript.text.delta", "delta": piece }));
        let mut events: Vec<_> = pieces(&text).iter().map(delta).collect();
        let last = json!({ "type": "transcript.text.done", "text": text, "usage": usage });
        events.push(named(&last));
        return Ok(Reply::events(events));
    }
    let plain = |text: String| Reply {
        status: 200,
        content_type: "text/plain; charset=utf-8",
        frames: vec![Bytes::from(text)],
    };
    Ok(match ask.text("response_format") {
        Some("text") => plain(format!("{text}\n")),
        Some("srt") => plain(format!("1\n00:00:00,000 --> 00:00:01,000\n{text}\n\n")),
        Some("vtt") => plain(format!("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{text}\n\n")),
        Some("verbose_json") => Reply::json(&json!({
            "task": if ask.operation == Operation::Translations { "translate" } else { "transcribe" },
            "language": "english",
            "duration": 1.0,
            "text": text,
            "segments": [],
        })),
        _ => Reply::json(&json!({ "text": text, "usage": usage })),
    })
}

pub(super) fn speech(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let tokens = ask.needed("input")?.as_str().map_or(0, count);
    if ask.text("stream_format") == Some("sse") {
        let delta = json!({ "type": "speech.audio.delta", "audio": STANDARD.encode(silence()) });
        let usage =
            json!({ "input_tokens": tokens, "output_tokens": 1, "total_tokens": tokens + 1 });
        let last = json!({ "type": "speech.audio.done", "usage": usage });
        return Ok(Reply::events(vec![data(&delta), data(&last)]));
    }
    let frames = vec![Bytes::from(silence())];
    Ok(Reply { status: 200, content_type: "audio/wav", frames })
}

/// A tenth of a second of silence: WAV, PCM, 8 bits, one channel, 8000 samples a second.
fn silence() -> Vec<u8> {
    const SAMPLES: u32 = 800;
    let mut wav = Vec::with_capacity(44 + SAMPLES as usize);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + SAMPLES).to_le_bytes());
    wav.extend_from_slice(
        b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data",
    );
    wav.extend_from_slice(&SAMPLES.to_le_bytes());
    wav.resize(44 + SAMPLES as usize, 0x80);
    wav
}

/// A PNG of one transparent pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAAC0lEQVR42mNgAAIAAAUAAen63NgAAAAASUVORK5CYII=";

pub(super) fn image(ask: &Ask<'_>) -> Reply {
    let tokens = ask.text("prompt").map_or(0, count);
    let usage = json!({
        "input_tokens": tokens,
        "input_tokens_details": { "text_tokens": tokens, "image_tokens": 0 },
        "output_tokens": 1,
        "total_tokens": tokens + 1,
    });
    let about = json!({
        "background": "transparent", "output_format": "png", "quality": "low", "size": "1x1",
    });
    let mut answer = about;
    answer["usage"] = usage;
    if ask.stream() {
        let kind = match ask.operation {
            Operation::ImageEdits => "image_edit.completed",
            _ => "image_generation.completed",
        };
        answer["type"] = json!(kind);
        answer["created_at"] = json!(ask.created);
        answer["b64_json"] = json!(PIXEL);
        return Reply { status: 200, content_type: EVENTS, frames: vec![named(&answer)] };
    }
    answer["created"] = json!(ask.created);
    answer["data"] = json!([{ "b64_json": PIXEL }]);
    Reply::json(&answer)
}
