//! `contents`: turns of parts.

use serde_json::{Map, Value};

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::format::gemini::media::{kind_of, type_of_url};
use crate::wire::format::gemini::object::{Object, snake_case};
use crate::wire::format::gemini::signature;
use crate::wire::ir::{Block, Content, Media, MediaKind, Role, Source, ToolResult, Turn};
use crate::wire::json::fields::Rejected;

type Asked = Vec<(Feature, String)>;

pub(super) fn decode_turns(body: &mut Object, asked: &mut Asked) -> Result<Vec<Turn>, Rejected> {
    let mut turns = Vec::new();
    for (content, at) in body.list("contents")? {
        let mut content = Object::new(content, at)?;
        let role = match content.text("role")?.as_deref() {
            // The Gemini API had the role `function` before results were in turns of the user.
            None | Some("" | "user" | "function") => Role::User,
            Some("model") => Role::Assistant,
            Some(_) => return Err(content.must("role", "must be `user` or `model`")),
        };
        let mut blocks = Vec::new();
        for (part, at) in content.list("parts")? {
            decode_part(part, at, &mut blocks, asked)?;
        }
        turns.push(Turn { role, name: None, blocks });
    }
    Ok(turns)
}

/// Decodes a part into a block, or adds it to the reasoning block before it.
pub(super) fn decode_part(
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
            // An empty text that only carries a signature.
            (true, _) | (false, true) => Content::Reasoning { text },
            (false, false) if text.is_empty() => return Ok(()),
            (false, false) => Content::text(text),
        }
    } else if let Some(mut data) = part.object("inlineData")? {
        decode_inline_data(&mut data)?
    } else if let Some(mut data) = part.object("fileData")? {
        decode_file_data(&mut data)?
    } else if let Some(mut call) = part.object("functionCall")? {
        Content::ToolCall {
            id: call.text("id")?.filter(|id| !id.is_empty()),
            name: call.needed_text("name")?,
            arguments: decode_arguments(&mut call)?,
        }
    } else if let Some(mut response) = part.object("functionResponse")? {
        Content::ToolResult(decode_result(&mut response)?)
    } else if thought || signature.is_some() {
        Content::Reasoning { text: String::new() }
    } else {
        return Err(Rejected::new(
            part.place(),
            "must contain `text`, `inlineData`, `fileData`, `functionCall` or `functionResponse`",
        ));
    };
    let mut block = Block::new(content, part.place());
    block.signature = signature.map(signature::decode);
    if thought && let Content::Reasoning { text } = &block.content {
        // A thought arrives in pieces, its signature with the last of them.
        if let Some(Block {
            content: Content::Reasoning { text: before },
            signature: unsigned @ None,
            ..
        }) = blocks.last_mut()
        {
            before.push_str(text);
            *unsigned = block.signature;
            return Ok(());
        }
        if text.is_empty() && block.signature.is_none() {
            return Ok(());
        }
    }
    blocks.push(block);
    Ok(())
}

/// Returns true for a part that only this format has: code that Google ran, calls of its own tools, and newer
/// kinds.
fn is_foreign(part: &Value) -> bool {
    const KNOWN: [&str; 10] = [
        "text",
        "thought",
        "thoughtSignature",
        "inlineData",
        "fileData",
        "functionCall",
        "functionResponse",
        "videoMetadata",
        "mediaResolution",
        "partMetadata",
    ];
    let Some(members) = part.as_object() else { return false };
    let is_known =
        |name: &str| KNOWN.iter().any(|known| name == *known || name == snake_case(known));
    members.iter().any(|(name, value)| !is_known(name) && value.is_object())
}

fn decode_inline_data(data: &mut Object) -> Result<Content, Rejected> {
    let media_type = data.needed_text("mimeType")?;
    let bytes = signature::standard_base64(data.needed_text("data")?);
    let kind = kind_of(&media_type);
    let plain_text = (media_type == "text/plain")
        .then(|| String::from_utf8(signature::decode_base64(&bytes)?).ok())
        .flatten();
    let source = match plain_text {
        Some(text) => Source::Text(text),
        None => Source::Base64 { media_type, data: bytes },
    };
    Ok(Content::Media(Media { kind, source, name: data.text("displayName")?, detail: None }))
}

fn decode_file_data(data: &mut Object) -> Result<Content, Rejected> {
    let media_type = data.text("mimeType")?.filter(|kind| !kind.is_empty());
    let url = data.needed_text("fileUri")?;
    let kind = match &media_type {
        Some(media_type) => kind_of(media_type),
        None if is_youtube(&url) => MediaKind::Video,
        None => type_of_url(&url).map_or(MediaKind::Document, kind_of),
    };
    let is_uploaded =
        url.starts_with("files/") || url.contains("generativelanguage.googleapis.com/");
    let source = if is_uploaded {
        Source::File { format: Format::Gemini, id: url }
    } else {
        Source::Url { url, media_type }
    };
    Ok(Content::Media(Media { kind, source, name: data.text("displayName")?, detail: None }))
}

fn is_youtube(url: &str) -> bool {
    ["https://www.youtube.com/", "https://youtube.com/", "https://youtu.be/"]
        .iter()
        .any(|host| url.starts_with(host))
}

fn decode_arguments(call: &mut Object) -> Result<String, Rejected> {
    match call.value("args") {
        None => Ok("{}".to_owned()),
        Some(args @ Value::Object(_)) => Ok(args.to_string()),
        Some(_) => Err(call.must("args", "must be an object")),
    }
}

fn decode_result(response: &mut Object) -> Result<ToolResult, Rejected> {
    let at = response.at("response");
    let body = match response.value("response") {
        None => Map::new(),
        Some(Value::Object(body)) => body,
        Some(_) => return Err(Rejected::new(at, "must be an object")),
    };
    let (text, is_error) = result_text(body);
    let mut content = vec![Block::new(Content::text(text), at)];
    for (part, at) in response.list("parts")? {
        let mut part = Object::new(part, at)?;
        let media = if let Some(mut data) = part.object("inlineData")? {
            decode_inline_data(&mut data)?
        } else if let Some(mut data) = part.object("fileData")? {
            decode_file_data(&mut data)?
        } else {
            return Err(Rejected::new(part.place(), "must contain `inlineData` or `fileData`"));
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

/// Returns the text of a `response`, and true if it is an error. By the reference of Vertex a lone `output` is
/// the result and a lone `error` the error; any other object is the result itself.
fn result_text(mut body: Map<String, Value>) -> (String, bool) {
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
    reason = "so that a test fails, and takes literals"
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
    fn pieces_of_a_thought_become_one_block_with_its_signature() {
        let signature = Signature { format: Format::Anthropic, data: "sig".to_owned(), id: None };
        let text = signature::encode(&signature);
        let decoded = blocks(json!([
            {"text": "a", "thought": true},
            {"text": "b", "thought": true},
            {"text": "", "thought": true, "thoughtSignature": text},
            {"text": "c", "thought": false},
            {"text": ""},
            {"text": "", "thoughtSignature": "AAAA"},
        ]));
        let contents: Vec<_> = decoded.iter().map(|block| &block.content).collect();
        let thought = |text: &str| Content::Reasoning { text: text.to_owned() };
        assert_eq!(contents, [&thought("ab"), &Content::text("c"), &thought("")]);
        assert_eq!(decoded[0].signature, Some(signature));
        assert_eq!(decoded[2].signature.as_ref().unwrap().format, Format::Gemini);
    }

    #[test]
    fn the_media_type_gives_the_kind_and_base64_gets_one_alphabet() {
        let decoded = blocks(json!([
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
        assert_eq!(media(&decoded[0]), (MediaKind::Image, png));
        assert_eq!(media(&decoded[1]), (MediaKind::Document, Source::Text("hi".to_owned())));
        assert_eq!(media(&decoded[2]), (MediaKind::Video, url("https://youtu.be/x")));
        assert_eq!(media(&decoded[3]), (MediaKind::Document, url("gs://b/a.pdf")));
        assert!(matches!(media(&decoded[4]), (MediaKind::Audio, Source::File { .. })));
    }

    #[test]
    fn responses_are_results_or_errors() {
        let decode = |response: Value| {
            let decoded =
                blocks(json!([{"functionResponse": {"name": "f", "response": response}}]));
            let Content::ToolResult(result) = &decoded[0].content else { panic!("no result") };
            let Content::Text { text, .. } = &result.content[0].content else { panic!("no text") };
            (text.clone(), result.is_error)
        };
        assert_eq!(decode(json!({"output": "5"})), ("5".to_owned(), false));
        assert_eq!(decode(json!({"output": [1]})), ("[1]".to_owned(), false));
        assert_eq!(decode(json!({"error": "no"})), ("no".to_owned(), true));
        assert_eq!(
            decode(json!({"error": null, "a": 1})),
            (r#"{"error":null,"a":1}"#.to_owned(), false)
        );
        assert_eq!(decode(json!({})), ("{}".to_owned(), false));
    }

    #[test]
    fn parts_of_server_tools_are_foreign() {
        let decoded = blocks(json!([
            {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "AA=="},
            {"toolCall": {"toolType": "FILE_SEARCH"}},
            {"functionCall": {"name": "f", "id": ""}, "partMetadata": {}},
        ]));
        assert!(
            matches!(decoded[0].content, Content::Foreign { .. }) && decoded[0].signature.is_none()
        );
        assert!(matches!(decoded[1].content, Content::Foreign { .. }));
        let call = Content::ToolCall { id: None, name: "f".to_owned(), arguments: "{}".to_owned() };
        assert_eq!(decoded[2].content, call);
    }
}
