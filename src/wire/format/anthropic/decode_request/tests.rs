use serde_json::json;

use super::*;
use crate::wire::ir::{Content, Media, MediaKind, Signature, Source, ToolResult};

fn decoded(body: &Value) -> Request {
    decode_request(body.to_string().as_bytes()).unwrap()
}

fn blocks(content: &Value) -> Vec<Block> {
    let body = json!({"messages": [{"role": "user", "content": content}]});
    decoded(&body).turns.remove(0).blocks
}

/// The request is of the shape that Claude Code sends.
#[test]
fn the_request_of_an_agent_is_decoded() {
    let request = decoded(&json!({
        "model": "claude-sonnet-5", "max_tokens": 32000, "stream": true,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc"},
            {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "", "signature": "Eu=="},
                {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"b": 1, "a": 2}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no", "is_error": true},
                {"type": "text", "text": "<system-reminder>", "cache_control": {"type": "ephemeral"}},
            ]},
        ],
        "tools": [
            {"name": "Bash", "description": "Runs.", "input_schema": {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}, "eager_input_streaming": true},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "xhigh"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": "{\"device_id\":\"d\"}"},
        "betas_of_tomorrow": true,
    }));
    assert_eq!(request.max_tokens, Some(32000));
    assert_eq!(request.system[1].cache, Some(Cache { ttl: Some("1h".to_owned()) }));
    assert_eq!(request.system[1].at, "/system/1");
    let thinking_block = &request.turns[1].blocks[0];
    assert_eq!(thinking_block.signature.as_ref().unwrap().data, "Eu==");
    let Content::ToolCall { arguments, .. } = &request.turns[1].blocks[1].content else { panic!() };
    assert_eq!(arguments, r#"{"b":1,"a":2}"#);
    let Content::ToolResult(result) = &request.turns[2].blocks[0].content else { panic!() };
    assert!(result.is_error);
    assert_eq!(result.content[0].at, "/messages/2/content/0/content");
    assert!(
        matches!(&request.tools[1], Tool::Foreign { format: Format::Anthropic, at, .. } if at == "/tools/1")
    );
    let thinking = Thinking { effort: Some(Effort::XHigh), budget: None, shown: None };
    assert_eq!(request.thinking, Some(thinking));
    assert_eq!(request.user.as_deref(), Some("{\"device_id\":\"d\"}"));
    let asked = [
        (Feature::ProviderFields, "/tools/0/eager_input_streaming".to_owned()),
        (Feature::ContextManagement, "/context_management".to_owned()),
    ];
    assert_eq!(request.asked, asked);
    assert_eq!(request.unknown, ["betas_of_tomorrow"]);
}

#[test]
fn media_of_all_sources_are_decoded() {
    let all = blocks(&json!([
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
        {"type": "image", "source": {"type": "url", "url": "https://a/b"}},
        {"type": "document", "title": "t", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}},
        {"type": "document", "context": "about", "source": {"type": "text", "media_type": "text/plain", "data": "c"}},
    ]));
    let media: Vec<_> = all
        .iter()
        .filter_map(|block| match &block.content {
            Content::Media(Media { kind, source, .. }) => Some((*kind, source.clone())),
            _ => None,
        })
        .collect();
    let base64 = Source::Base64 { media_type: "image/png".to_owned(), data: "AA==".to_owned() };
    assert_eq!(media[0], (MediaKind::Image, base64));
    let url = Source::Url { url: "https://a/b".to_owned(), media_type: None };
    assert_eq!(media[1], (MediaKind::Image, url));
    let file = Source::File { format: Format::Anthropic, id: "file_1".to_owned() };
    assert_eq!(media[2], (MediaKind::Document, file));
    assert_eq!(media[3].1, Source::Text("a\n\nb".to_owned()));
    assert_eq!(media[4].1, Source::Text("c".to_owned()));
    assert_eq!(all[4].content, Content::text("about"));
}

#[test]
fn a_foreign_signature_returns_to_its_block() {
    let all = blocks(&json!([
        {"type": "thinking", "thinking": "t", "signature": "openai-responses#rs_1:enc"},
        {"type": "tool_use", "id": "c", "name": "f", "input": {}},
        {"type": "thinking", "thinking": "", "signature": "gemini^:sig"},
        {"type": "redacted_thinking", "data": "opaque"},
        {"type": "thinking", "thinking": "unsigned", "signature": ""},
    ]));
    assert_eq!(all.len(), 4);
    let enc = Signature {
        format: Format::OpenAiResponses,
        data: "enc".to_owned(),
        id: Some("rs_1".to_owned()),
    };
    assert_eq!(all[0].signature, Some(enc));
    let sig = Signature { format: Format::Gemini, data: "sig".to_owned(), id: None };
    assert!(matches!(all[1].content, Content::ToolCall { .. }));
    assert_eq!(all[1].signature, Some(sig));
    assert_eq!(
        all[2].signature.as_ref().map(|signature| signature.format),
        Some(Format::Anthropic)
    );
    assert_eq!(all[3].signature, None);
}

#[test]
fn instructions_within_the_conversation_become_turns() {
    let request = decoded(&json!({"messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "a"},
            {"type": "mid_conv_system", "content": [{"type": "text", "text": "be brief"}]},
            {"type": "text", "text": "b"},
        ]},
        {"role": "system", "content": "be long"},
    ]}));
    let roles: Vec<_> = request.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::User, Role::System, Role::User, Role::System]);
    assert_eq!(request.turns[1].blocks[0].at, "/messages/0/content/1/content/0");
}

#[test]
fn errors_name_the_place() {
    for (body, at) in [
        (json!({"messages": "x"}), "/messages"),
        (json!({}), "/messages"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), "/messages/0/role"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
            "/messages/0/content/0/text",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"text": "x"}]}]}),
            "/messages/0/content/0/type",
        ),
        (json!({"messages": [], "tools": [{"input_schema": {}}]}), "/tools/0/name"),
        (json!({"messages": [], "tool_choice": {"type": "maybe"}}), "/tool_choice/type"),
        (json!({"messages": [], "max_tokens": "many"}), "/max_tokens"),
        (json!({"messages": [], "output_config": {"effort": "huge"}}), "/output_config/effort"),
    ] {
        assert_eq!(decode_request(body.to_string().as_bytes()).unwrap_err().at, at, "{body}");
    }
}

#[test]
fn server_tool_blocks_stay_as_they_are() {
    let search = json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}});
    let all = blocks(&json!([search]));
    assert_eq!(all[0].content, Content::Foreign { format: Format::Anthropic, json: search });
}

#[test]
fn a_tool_result_may_be_empty() {
    let all = blocks(&json!([{"type": "tool_result", "tool_use_id": "t"}]));
    let result =
        ToolResult { id: "t".to_owned(), name: None, content: Vec::new(), is_error: false };
    assert_eq!(all[0].content, Content::ToolResult(result));
}
