//! `contents`: turns of parts.

use serde_json::{Map, Value};

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::format::gemini::object::Object;
use crate::wire::format::gemini::part::kind_of;
use crate::wire::format::gemini::signature;
use crate::wire::ir::{Block, Content, Media, MediaKind, Role, Source, ToolResult, Turn};
use crate::wire::json::fields::Rejected;

type Asked = Vec<(Feature, String)>;

pub(crate) fn turns(body: &mut Object, asked: &mut Asked) -> Result<Vec<Turn>, Rejected> {
    let mut turns = Vec::new();
    for (content, at) in body.list("contents")? {
        let mut content = Object::new(content, at)?;
        let role = match content.text("role")?.as_deref() {
            // The Gemini API answered to `function` before outcomes were the user's.
            None | Some("" | "user" | "function") => Role::User,
            Some("model") => Role::Assistant,
            Some(_) => return Err(content.must("role", "must be `user` or `model`")),
        };
        let mut blocks = Vec::new();
        for (part, at) in content.list("parts")? {
            self::part(part, at, &mut blocks, asked)?;
        }
        turns.push(Turn { role, name: None, blocks });
    }
    Ok(turns)
}

/// One part, or more of the thought before it.
pub(crate) fn part(
    value: Value,
    at: String,
    blocks: &mut Vec<Block>,
    asked: &mut Asked,
) -> Result<(), Rejected> {
    if is_foreign(&value) {
        let json = value;
        blocks.push(Block::new(Content::Foreign { format: Format::Gemini, json }, at));
        return Ok(());
    }
    let mut part = Object::new(value, at)?;
    let thought = part.flag("thought")? == Some(true);
    let signature = part.text("thoughtSignature")?.filter(|signature| !signature.is_empty());
    for (name, feature) in
        [("videoMetadata", Feature::ProviderFields), ("mediaResolution", Feature::ImageDetail)]
    {
        if part.has(name) {
            asked.push((feature, part.at(name)));
        }
    }
    let content = if let Some(text) = part.text("text")? {
        match (thought, text.is_empty() && signature.is_some()) {
            // The empty text that only carries a signature.
            (true, _) | (false, true) => Content::Reasoning { text },
            (false, false) if text.is_empty() => return Ok(()),
            (false, false) => Content::text(text),
        }
    } else if let Some(mut data) = part.object("inlineData")? {
        inline(&mut data)?
    } else if let Some(mut data) = part.object("fileData")? {
        file(&mut data)?
    } else if let Some(mut call) = part.object("functionCall")? {
        Content::ToolCall {
            id: call.text("id")?.filter(|id| !id.is_empty()),
            name: call.needed_text("name")?,
            arguments: arguments(&mut call)?,
        }
    } else if let Some(mut response) = part.object("functionResponse")? {
        Content::ToolResult(outcome(&mut response)?)
    } else if thought || signature.is_some() {
        Content::Reasoning { text: String::new() }
    } else {
        return Err(Rejected::new(part.place(), "must hold a text, data, a call or a response"));
    };
    let mut block = Block::new(content, part.place());
    block.signature = signature.map(signature::read);
    if thought && let Content::Reasoning { text } = &block.content {
        // A thought comes in pieces, and its signature with the last of them.
        if let Some(Block {
            content: Content::Reasoning { text: before },
            signature: sealed @ None,
            ..
        }) = blocks.last_mut()
        {
            before.push_str(text);
            *sealed = block.signature;
            return Ok(());
        }
        if text.is_empty() && block.signature.is_none() {
            return Ok(());
        }
    }
    blocks.push(block);
    Ok(())
}

/// Whether it is what only this format can say: code that Google ran, calls of its own tools, and whatever
/// has come since.
fn is_foreign(part: &Value) -> bool {
    let Some(members) = part.as_object() else { return false };
    let known = |name: &str| {
        matches!(
            name,
            "text"
                | "thought"
                | "thoughtSignature"
                | "thought_signature"
                | "inlineData"
                | "inline_data"
                | "fileData"
                | "file_data"
                | "functionCall"
                | "function_call"
                | "functionResponse"
                | "function_response"
                | "videoMetadata"
                | "video_metadata"
                | "mediaResolution"
                | "media_resolution"
                | "partMetadata"
                | "part_metadata"
        )
    };
    members.iter().any(|(name, value)| !known(name) && value.is_object())
}

fn inline(data: &mut Object) -> Result<Content, Rejected> {
    let media_type = data.needed_text("mimeType")?;
    let bytes = signature::standard(data.needed_text("data")?);
    let kind = kind_of(&media_type);
    let plain = (media_type == "text/plain")
        .then(|| String::from_utf8(signature::decode(&bytes)?).ok())
        .flatten();
    let source = match plain {
        Some(text) => Source::Text(text),
        None => Source::Base64 { media_type, data: bytes },
    };
    Ok(Content::Media(Media { kind, source, name: data.text("displayName")?, detail: None }))
}

fn file(data: &mut Object) -> Result<Content, Rejected> {
    let media_type = data.text("mimeType")?.filter(|kind| !kind.is_empty());
    let url = data.needed_text("fileUri")?;
    let kind = match &media_type {
        Some(media_type) => kind_of(media_type),
        None if is_film(&url) => MediaKind::Video,
        None => crate::wire::format::gemini::part::media_type_of(&url)
            .map_or(MediaKind::Document, kind_of),
    };
    // Of the API's own store of files.
    let own = url.starts_with("files/") || url.contains("generativelanguage.googleapis.com/");
    let source = if own {
        Source::File { format: Format::Gemini, id: url }
    } else {
        Source::Url { url, media_type }
    };
    Ok(Content::Media(Media { kind, source, name: data.text("displayName")?, detail: None }))
}

fn is_film(url: &str) -> bool {
    ["https://www.youtube.com/", "https://youtube.com/", "https://youtu.be/"]
        .iter()
        .any(|host| url.starts_with(host))
}

fn arguments(call: &mut Object) -> Result<String, Rejected> {
    match call.value("args") {
        None => Ok("{}".to_owned()),
        Some(args @ Value::Object(_)) => Ok(args.to_string()),
        Some(_) => Err(call.must("args", "must be an object")),
    }
}

fn outcome(response: &mut Object) -> Result<ToolResult, Rejected> {
    let at = response.at("response");
    let body = match response.value("response") {
        None => Map::new(),
        Some(Value::Object(body)) => body,
        Some(_) => return Err(Rejected::new(at, "must be an object")),
    };
    let (text, is_error) = told(body);
    let mut content = vec![Block::new(Content::text(text), at)];
    for (part, at) in response.list("parts")? {
        let mut part = Object::new(part, at)?;
        let media = if let Some(mut data) = part.object("inlineData")? {
            inline(&mut data)?
        } else if let Some(mut data) = part.object("fileData")? {
            file(&mut data)?
        } else {
            return Err(Rejected::new(part.place(), "must hold `inlineData` or `fileData`"));
        };
        content.push(Block::new(media, part.place()));
    }
    Ok(ToolResult {
        id: response.text("id")?.unwrap_or_default(),
        name: Some(response.needed_text("name")?),
        content,
        is_error,
    })
}

/// What a response tells, and whether that is an error. The reference of Vertex has it that `output` alone
/// is the outcome and `error` alone the error; any other object is the outcome itself.
fn told(mut body: Map<String, Value>) -> (String, bool) {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    if body.len() == 1 {
        if let Some(output) = body.shift_remove("output") {
            return (text(output), false);
        }
        if let Some(error) = body.shift_remove("error") {
            return (text(error), true);
        }
    }
    (Value::Object(body).to_string(), false)
}

#[cfg(test)]
#[allow(
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "so a test reads like what it says"
)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::format::gemini::decode_request::decode_request;
    use crate::wire::ir::Signature;

    fn blocks(parts: Value) -> Vec<Block> {
        let body = json!({"contents": [{"role": "model", "parts": parts}]});
        decode_request(body.to_string().as_bytes()).unwrap().turns.remove(0).blocks
    }

    #[test]
    fn a_thought_in_pieces_is_one_and_has_its_signature_back() {
        let signature = Signature { format: Format::Anthropic, data: "sig".to_owned(), id: None };
        let text = signature::write(&signature);
        let read = blocks(json!([
            {"text": "a", "thought": true},
            {"text": "b", "thought": true},
            {"text": "", "thought": true, "thoughtSignature": text},
            {"text": "c", "thought": false},
            {"text": ""},
            {"text": "", "thoughtSignature": "AAAA"},
        ]));
        let contents: Vec<_> = read.iter().map(|block| &block.content).collect();
        let thought = |text: &str| Content::Reasoning { text: text.to_owned() };
        assert_eq!(contents, [&thought("ab"), &Content::text("c"), &thought("")]);
        assert_eq!(read[0].signature, Some(signature));
        assert_eq!(read[2].signature.as_ref().unwrap().format, Format::Gemini);
    }

    #[test]
    fn data_is_told_by_its_media_type_and_brought_into_one_alphabet() {
        let read = blocks(json!([
            {"inlineData": {"mimeType": "image/png", "data": "_-8"}},
            {"inline_data": {"mime_type": "text/plain", "data": "aGk="}},
            {"fileData": {"fileUri": "https://youtu.be/x"}},
            {"fileData": {"fileUri": "gs://b/a.pdf"}},
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x", "mimeType": "audio/mp3"}},
        ]));
        let media = |block: &Block| match &block.content {
            Content::Media(media) => (media.kind, media.source.clone()),
            _ => panic!("no media"),
        };
        let url = |url: &str| Source::Url { url: url.to_owned(), media_type: None };
        let png = Source::Base64 { media_type: "image/png".to_owned(), data: "/+8=".to_owned() };
        assert_eq!(media(&read[0]), (MediaKind::Image, png));
        assert_eq!(media(&read[1]), (MediaKind::Document, Source::Text("hi".to_owned())));
        assert_eq!(media(&read[2]), (MediaKind::Video, url("https://youtu.be/x")));
        assert_eq!(media(&read[3]), (MediaKind::Document, url("gs://b/a.pdf")));
        assert!(matches!(media(&read[4]), (MediaKind::Audio, Source::File { .. })));
    }

    #[test]
    fn responses_tell_an_outcome_or_an_error() {
        let of = |response: Value| {
            let read = blocks(json!([{"functionResponse": {"name": "f", "response": response}}]));
            let Content::ToolResult(outcome) = &read[0].content else { panic!("no outcome") };
            let Content::Text { text, .. } = &outcome.content[0].content else { panic!("no text") };
            (text.clone(), outcome.is_error)
        };
        assert_eq!(of(json!({"output": "5"})), ("5".to_owned(), false));
        assert_eq!(of(json!({"output": [1]})), ("[1]".to_owned(), false));
        assert_eq!(of(json!({"error": "no"})), ("no".to_owned(), true));
        assert_eq!(
            of(json!({"error": null, "a": 1})),
            (r#"{"error":null,"a":1}"#.to_owned(), false)
        );
        assert_eq!(of(json!({})), ("{}".to_owned(), false));
    }

    #[test]
    fn what_google_ran_itself_is_foreign() {
        let read = blocks(json!([
            {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "AA=="},
            {"toolCall": {"toolType": "FILE_SEARCH"}},
            {"functionCall": {"name": "f", "id": ""}, "partMetadata": {}},
        ]));
        assert!(matches!(read[0].content, Content::Foreign { .. }) && read[0].signature.is_none());
        assert!(matches!(read[1].content, Content::Foreign { .. }));
        let call = Content::ToolCall { id: None, name: "f".to_owned(), arguments: "{}".to_owned() };
        assert_eq!(read[2].content, call);
    }
}
