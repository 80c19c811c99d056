//! A caller's request.

pub(super) mod echo;
mod input;
mod tools;

use std::sync::Arc;

use serde_json::Value;

use super::types::{INCLUDE_ENCRYPTED, INCLUDE_LOGPROBS};
use crate::wire::feature::Feature;
use crate::wire::ir::{Block, Content, Effort, Form, Logprobs, Request, Sampling, Thinking, Tier};
use crate::wire::json::fields::{Fields, Rejected};

/// Decodes a caller's request.
///
/// # Errors
///
/// When the body is not a valid request of this format.
pub fn decode_request(body: &[u8]) -> Result<Request, Rejected> {
    let mut body = Fields::of_body(body)?;
    let echo = echo::new(&body);
    let mut request = Request { stream_usage: true, ..Request::default() };
    request.model = body.text("model")?.unwrap_or_default();
    request.stream = body.flag("stream")?.unwrap_or(false);
    if let Some(text) = body.text("instructions")?.filter(|text| !text.is_empty()) {
        request.system.push(Block::new(Content::text(text), body.at("instructions")));
    }
    let stored_input = ["previous_response_id", "conversation", "prompt"];
    if !body.has("input") && !stored_input.iter().any(|name| body.has(name)) {
        return Err(body.must("input", "is missing"));
    }
    input::decode(&mut body, &mut request)?;
    tools::decode(&mut body, &mut request)?;
    decode_reasoning(&mut body, &mut request)?;
    decode_text(&mut body, &mut request)?;
    request.max_tokens = body.count("max_output_tokens")?;
    request.sampling = Sampling {
        temperature: body.number("temperature")?,
        top_p: body.number("top_p")?,
        ..Sampling::default()
    };
    decode_logprobs_and_include(&mut body, &mut request)?;
    request.metadata = body.fields("metadata")?.map(Fields::into_left);
    let user = body.text("user")?;
    request.user = body.text("safety_identifier")?.or(user);
    request.cache_key = body.text("prompt_cache_key")?;
    request.tier = body.text("service_tier")?.map(tier);
    decode_features(&mut body, &mut request)?;
    request.unknown.extend(body.left().map(str::to_owned));
    request.echo = Some(Arc::new(echo));
    Ok(request)
}

fn decode_reasoning(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    let Some(mut reasoning) = body.fields("reasoning")? else { return Ok(()) };
    let effort = match reasoning.text("effort")?.map(|word| Effort::from_word(&word)) {
        None => None,
        Some(Some(effort)) => Some(effort),
        Some(None) => {
            let expected = "must be `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`";
            return Err(reasoning.must("effort", expected));
        }
    };
    let older_name = reasoning.text("generate_summary")?;
    let shown = reasoning.text("summary")?.or(older_name).map(|summary| summary != "none");
    if effort.is_some() || shown.is_some() {
        request.thinking = Some(Thinking { effort, budget: None, shown });
    }
    request.unknown.extend(reasoning.left().map(|name| reasoning.at(name)));
    Ok(())
}

fn decode_text(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    let Some(mut text) = body.fields("text")? else { return Ok(()) };
    // `medium` is the default of every model.
    if text.text("verbosity")?.is_some_and(|word| word != "medium") {
        request.asked.push((Feature::Verbosity, text.at("verbosity")));
    }
    if let Some(mut format) = text.fields("format")? {
        request.form = match &*format.needed_text("type")? {
            "text" => None,
            "json_object" => Some(Form::Json),
            "json_schema" => Some(Form::Schema {
                name: format.text("name")?,
                description: format.text("description")?,
                schema: format
                    .value("schema")
                    .ok_or_else(|| format.must("schema", "is missing"))?,
                strict: format.flag("strict")?,
            }),
            _ => {
                return Err(format.must("type", "must be `text`, `json_object` or `json_schema`"));
            }
        };
    }
    request.unknown.extend(text.left().map(|name| text.at(name)));
    Ok(())
}

fn decode_logprobs_and_include(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    let top = body.count("top_logprobs")?.map(|top| u32::try_from(top).unwrap_or(u32::MAX));
    let mut wanted = top.is_some_and(|top| top > 0);
    for (value, at) in body.list("include")? {
        match value.as_str() {
            // Signatures are in every answer that has any.
            Some(INCLUDE_ENCRYPTED) => {}
            Some(INCLUDE_LOGPROBS) => wanted = true,
            Some(_) => request.asked.push((Feature::Include, at)),
            None => return Err(Rejected::new(at, "must be a string")),
        }
    }
    request.logprobs = wanted.then_some(Logprobs { top });
    Ok(())
}

fn tier(word: String) -> Tier {
    match &*word {
        "auto" => Tier::Auto,
        "default" => Tier::Standard,
        "flex" => Tier::Flex,
        "priority" => Tier::Priority,
        _ => Tier::Other(word),
    }
}

/// Takes the settings that have no field in [`Request`], if their value differs from the default.
fn decode_features(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    for (feature, name) in [
        (Feature::StoredConversation, "previous_response_id"),
        (Feature::StoredConversation, "conversation"),
        (Feature::PromptTemplate, "prompt"),
        (Feature::PromptCacheRetention, "prompt_cache_retention"),
        (Feature::PromptCacheRetention, "prompt_cache_options"),
        (Feature::ContextManagement, "context_management"),
        (Feature::ProviderFields, "moderation"),
    ] {
        if body.value(name).is_some() {
            request.asked.push((feature, body.at(name)));
        }
    }
    for (feature, name) in [(Feature::Store, "store"), (Feature::Background, "background")] {
        if body.flag(name)? == Some(true) {
            request.asked.push((feature, body.at(name)));
        }
    }
    if body.text("truncation")?.is_some_and(|word| word != "disabled") {
        request.asked.push((Feature::Truncation, body.at("truncation")));
    }
    // Obfuscation pads events so that their length reveals nothing. A caller that turns it off gets what it wants.
    if let Some(mut options) = body.fields("stream_options")? {
        if options.value("include_obfuscation") == Some(Value::Bool(true)) {
            request.unknown.push(options.at("include_obfuscation"));
        }
        request.unknown.extend(options.left().map(|name| options.at(name)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::api::Format;
    use crate::wire::ir::{Choice, Role, Source, Tool};

    fn decode(body: &Value) -> Request {
        decode_request(body.to_string().as_bytes()).unwrap()
    }

    fn rejected(body: &Value) -> String {
        decode_request(body.to_string().as_bytes()).unwrap_err().to_string()
    }

    /// A request in the shape of those of Codex.
    #[test]
    fn a_request_of_an_agent_is_decoded_in_full() {
        let request = decode(&json!({
            "model": "m", "instructions": "Be brief.", "stream": true, "store": false,
            "include": ["reasoning.encrypted_content"], "tool_choice": "auto",
            "parallel_tool_calls": false, "reasoning": {"effort": "high", "summary": "auto"},
            "prompt_cache_key": "k", "text": {"verbosity": "low"},
            "tools": [
                {"type": "function", "name": "shell", "strict": false, "parameters": {"type": "object"}},
                {"type": "custom", "name": "apply_patch", "description": "d",
                 "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
                {"type": "web_search"}
            ],
            "input": [
                {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Rules"}]},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go"}]},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}],
                 "encrypted_content": "anthropic:SIG"},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "On it"}]},
                {"type": "function_call", "call_id": "c1", "name": "shell", "arguments": "{}"},
                {"type": "reasoning", "summary": [], "encrypted_content": "gemini/before:QUJD"},
                {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "a \"b\""},
                {"type": "function_call_output", "call_id": "c1", "output": "done"},
                {"type": "custom_tool_call_output", "call_id": "c2", "output": [
                    {"type": "input_text", "text": "ok"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]}
            ]
        }));
        assert_eq!(request.system.len(), 2);
        let roles: Vec<_> =
            request.turns.iter().map(|turn| (turn.role, turn.blocks.len())).collect();
        assert_eq!(roles, [(Role::User, 1), (Role::Assistant, 4), (Role::User, 2)]);
        let blocks = &request.turns[1].blocks;
        assert_eq!(
            blocks[0].signature.as_ref().map(|signature| (signature.format, &*signature.data)),
            Some((Format::Anthropic, "SIG"))
        );
        assert_eq!(
            blocks[2].signature.as_ref().map(|signature| (signature.format, &*signature.data)),
            Some((Format::Gemini, "QUJD"))
        );
        let Content::ToolCall { arguments, .. } = &blocks[3].content else { panic!("{blocks:?}") };
        assert_eq!(arguments, r#"{"input":"a \"b\""}"#);
        assert_eq!(blocks[3].at, "/input/6");
        let Tool::Function { parameters: Some(schema), .. } = &request.tools[1] else { panic!() };
        assert!(
            schema["properties"]["input"]["description"].as_str().unwrap().contains("start: x")
        );
        assert!(matches!(&request.tools[2], Tool::Foreign { at, .. } if at == "/tools/2"));
        assert_eq!(request.asked, [(Feature::Verbosity, "/text/verbosity".to_owned())]);
        assert_eq!(request.unknown, [""; 0]);
        assert_eq!((request.parallel, &request.choice), (Some(false), &Some(Choice::Auto)));
        assert_eq!(request.echo.unwrap().freeform, ["apply_patch"]);
    }

    #[test]
    fn stored_and_unknown_settings_are_named() {
        let request = decode(&json!({
            "previous_response_id": "resp_1", "store": true, "background": false, "new": 1,
            "truncation": "auto", "include": ["file_search_call.results"],
            "input": [{"type": "item_reference", "id": "msg_1"}]
        }));
        let asked: Vec<_> = request.asked.iter().map(|(_, at)| &**at).collect();
        let places = ["/input/0", "/include/0", "/previous_response_id", "/store", "/truncation"];
        assert_eq!(asked, places);
        assert_eq!(request.unknown, ["new"]);
    }

    #[test]
    fn files_are_bytes_texts_addresses_or_ids() {
        let request = decode(&json!({"input": [{"role": "user", "content": [
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"},
            {"type": "input_file", "file_data": "data:text/plain;base64,SGk="},
            {"type": "input_file", "file_url": "https://a/b.pdf"},
            {"type": "input_image", "file_id": "file_1", "detail": "low"}
        ]}]}));
        let sources: Vec<_> = request.turns[0]
            .blocks
            .iter()
            .map(|block| match &block.content {
                Content::Media(media) => media.source.clone(),
                other => panic!("{other:?}"),
            })
            .collect();
        let (media_type, data) = ("application/pdf".to_owned(), "JVBE".to_owned());
        assert_eq!(sources[0], Source::Base64 { media_type, data });
        assert_eq!(sources[1], Source::Text("Hi".to_owned()));
        assert_eq!(sources[2], Source::Url { url: "https://a/b.pdf".to_owned(), media_type: None });
        assert_eq!(
            sources[3],
            Source::File { format: Format::OpenAiResponses, id: "file_1".to_owned() }
        );
    }

    #[test]
    fn allowed_tools_with_mode_auto_replace_the_tools() {
        let tool = |name: &str| json!({"type": "function", "name": name, "parameters": {}});
        let body = |mode: &str| {
            json!({"input": "x", "tools": [tool("a"), tool("b")], "tool_choice":
                {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": "b"}]}})
        };
        let request = decode(&body("auto"));
        assert_eq!((request.tools.len(), request.choice), (1, Some(Choice::Auto)));
        let request = decode(&body("required"));
        assert_eq!(
            (request.tools.len(), request.choice),
            (2, Some(Choice::AnyOf(vec!["b".to_owned()])))
        );
    }

    #[test]
    fn errors_have_their_place() {
        assert_eq!(rejected(&json!({})), "`/input` is missing.");
        let role = json!({"input": [{"role": "tool", "content": "x"}]});
        assert!(rejected(&role).starts_with("`/input/0/role` must be "));
        let file = json!({"input": [{"role": "user", "content": [{"type": "input_file", "file_data": "JVBE"}]}]});
        assert_eq!(rejected(&file), "`/input/0/content/0/file_data` must be a data URL.");
        let effort = json!({"input": "x", "reasoning": {"effort": "huge"}});
        assert!(rejected(&effort).starts_with("`/reasoning/effort` must be "));
    }
}
