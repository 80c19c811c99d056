use serde_json::{Number, Value, json};

use super::*;
use crate::wire::format::anthropic::encode_request;
use crate::wire::format::quirks::PLAIN;
use crate::wire::ir::{Effort, Role, Signature, Thinking, Turn};

/// A fitted and encoded request, and what was decided on the way.
#[derive(Debug)]
struct Encoded {
    body: Vec<u8>,
    dropped: Vec<String>,
    forced: Option<String>,
}

const BUDGET: &str = "claude-sonnet-4-5";
const NEWEST: &str = "claude-opus-5-5";

fn turn(role: Role, contents: impl IntoIterator<Item = Content>) -> Turn {
    let block = |content| Block::new(content, "/at");
    Turn { role, name: None, blocks: contents.into_iter().map(block).collect() }
}

fn text_turn(role: Role, text: &str) -> Turn {
    turn(role, [Content::text(text)])
}

fn request_to(model: &str) -> Request {
    let turns = vec![text_turn(Role::User, "hi")];
    Request { model: model.to_owned(), turns, ..Request::default() }
}

fn encoded(request: &Request) -> Result<Encoded, Rejected> {
    let mut request = request.clone();
    let mut fitting = Fitting::new(Format::Anthropic, Format::OpenAiChat);
    fit(&mut request, &PLAIN, &mut fitting)?;
    let (dropped, forced) = fitting.finish();
    Ok(Encoded { body: encode_request(&request, &PLAIN), dropped, forced })
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&encoded(request).unwrap().body).unwrap()
}

fn call(id: Option<&str>, name: &str, arguments: &str) -> Content {
    let (id, name) = (id.map(str::to_owned), name.to_owned());
    Content::ToolCall { id, name, arguments: arguments.to_owned() }
}

fn result(id: &str, name: Option<&str>, text: &str) -> Content {
    Content::ToolResult(ToolResult {
        id: id.to_owned(),
        name: name.map(str::to_owned),
        content: vec![Block::new(Content::text(text), "")],
        is_error: false,
    })
}

fn function(name: &str) -> Tool {
    Tool::Function {
        name: name.to_owned(),
        description: None,
        parameters: Some(json!({"type": "object", "properties": {}})),
        strict: None,
        cache: None,
        at: "/tools/0".to_owned(),
    }
}

fn effort(effort: Effort) -> Thinking {
    Thinking { effort: Some(effort), budget: None, shown: None }
}

fn schema(schema: Value) -> Form {
    Form::Schema { name: Some("city".to_owned()), description: None, schema, strict: None }
}

#[test]
fn a_request_without_a_limit_gets_that_of_the_model() {
    let mut request = request_to(BUDGET);
    let expected = json!({
        "model": BUDGET, "max_tokens": 64000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    });
    assert_eq!(body(&request), expected);
    request.max_tokens = Some(100_000);
    assert_eq!(body(&request)["max_tokens"], 64_000, "the API refuses more");
}

#[test]
fn model_and_stream_come_first_for_the_clouds() {
    let mut request = request_to(BUDGET);
    request.stream = true;
    let own = encoded(&request).unwrap().body;
    assert!(own.starts_with(br#"{"model":"claude-sonnet-4-5","stream":true,"max_tokens":"#));
    let bedrock = crate::wire::format::anthropic_on_clouds::for_bedrock(&own, std::iter::empty());
    assert!(bedrock.starts_with(br#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":"#));
}

#[test]
fn turns_alternate_and_results_come_first() {
    let mut request = request_to(BUDGET);
    request.turns = vec![
        text_turn(Role::Assistant, "hello"),
        text_turn(Role::User, "a"),
        text_turn(Role::User, ""),
        text_turn(Role::User, "b"),
        turn(Role::Assistant, [call(Some("x:1"), "f", ""), call(None, "g", "{\"a\":1}")]),
        text_turn(Role::System, "be brief"),
        turn(Role::User, [result("x:1", None, "one")]),
        turn(Role::User, [Content::text("c"), result("", Some("g"), "two")]),
    ];
    let messages = &body(&request)["messages"];
    let roles: Vec<_> = messages.as_array().unwrap().iter().map(|m| &m["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant", "user"]);
    assert_eq!(messages[2]["content"].as_array().unwrap().len(), 2);
    let calls = &messages[3]["content"];
    assert_eq!((&calls[0]["id"], &calls[0]["input"]), (&json!("x_3a1"), &json!({})));
    assert_eq!((&calls[1]["id"], &calls[1]["input"]), (&json!("call_0"), &json!({"a": 1})));
    let last = messages[4]["content"].as_array().unwrap();
    let short: Vec<_> =
        last.iter().map(|b| b["tool_use_id"].as_str().or(b["text"].as_str())).collect();
    assert_eq!(short, [Some("x_3a1"), Some("call_0"), Some("be brief"), Some("c")]);
    assert_eq!(last[0]["content"], "one");
}

#[test]
fn arguments_become_an_object() {
    let mut request = request_to(BUDGET);
    request
        .turns
        .push(turn(Role::Assistant, [call(Some("a"), "f", "[1]"), call(None, "g", "null")]));
    request.turns.push(text_turn(Role::User, "x"));
    let content = &body(&request)["messages"][1]["content"];
    assert_eq!(content[0]["input"], json!({"INVALID_JSON": "[1]"}));
    assert_eq!(content[1]["input"], json!({}));
}

#[test]
fn blank_texts_are_left_out() {
    let mut request = request_to(BUDGET);
    request.system = vec![Block::new(Content::text(" "), "")];
    request.turns.push(turn(Role::Assistant, [Content::text("\n\n"), call(Some("a"), "f", "")]));
    request.turns.push(turn(Role::User, [result("a", None, " "), Content::text(" ")]));
    let sent = body(&request);
    assert!(sent.get("system").is_none());
    assert_eq!(sent["messages"][1]["content"].as_array().unwrap().len(), 1);
    let expected = json!([{"type": "tool_result", "tool_use_id": "a"}]);
    assert_eq!(sent["messages"][2]["content"], expected);
}

#[test]
fn instructions_become_the_conversation_if_there_is_none() {
    let mut request = request_to(BUDGET);
    request.turns.clear();
    request.system = vec![Block::new(Content::text("say hi"), "")];
    let body = body(&request);
    assert_eq!(body["messages"][0]["content"][0]["text"], "say hi");
    assert!(body.get("system").is_none());
    request.system.clear();
    assert!(encoded(&request).is_err());
}

#[test]
fn a_prefill_is_trimmed_or_refused() {
    let mut request = request_to(BUDGET);
    request.turns.push(text_turn(Role::Assistant, "{ \n"));
    assert_eq!(body(&request)["messages"][1]["content"][0]["text"], "{");
    request.model = "claude-opus-4-6".to_owned();
    assert_eq!(encoded(&request).unwrap_err().at, "/at");
}

#[test]
fn effort_becomes_a_budget_or_a_word() {
    let mut request = request_to(BUDGET);
    request.thinking = Some(effort(Effort::High));
    let sent = body(&request);
    assert_eq!(sent["thinking"], json!({"type": "enabled", "budget_tokens": 24_576}));
    assert!(sent.get("output_config").is_none());
    request.model = "claude-opus-4-6".to_owned();
    let sent = body(&request);
    assert_eq!(sent["thinking"], json!({"type": "adaptive"}));
    assert_eq!(sent["output_config"], json!({"effort": "high"}));
    request.model = NEWEST.to_owned();
    request.thinking = Some(Thinking { effort: None, budget: Some(5000), shown: Some(true) });
    let sent = body(&request);
    assert_eq!(sent["thinking"], json!({"type": "adaptive", "display": "summarized"}));
    assert_eq!(sent["output_config"], json!({"effort": "medium"}));
}

#[test]
fn a_budget_leaves_room_for_the_answer_within_the_callers_limit() {
    let mut request = request_to(BUDGET);
    for (limit, wanted, sent) in [
        (10_000, Some(4000), Some(4000)),
        (10_000, Some(20_000), Some(5000)),
        (10_000, None, Some(5000)),
        (1500, None, Some(1024)),
        (1024, None, None),
    ] {
        request.max_tokens = Some(limit);
        request.thinking = Some(Thinking {
            effort: wanted.is_none().then_some(Effort::High),
            budget: wanted,
            shown: None,
        });
        let body = body(&request);
        assert_eq!(body["max_tokens"], limit);
        assert_eq!(body["thinking"]["budget_tokens"].as_u64(), sent, "{limit} {wanted:?}");
    }
    assert_eq!(encoded(&request).unwrap().dropped.len(), 1, "there is no room for thinking");
}

#[test]
fn thinking_is_disabled_as_each_model_knows_it() {
    let mut request = request_to(BUDGET);
    request.thinking = Some(effort(Effort::None));
    for (model, sent) in [
        (BUDGET, Some("disabled")),
        ("claude-opus-4-8", None),
        ("claude-opus-5", Some("disabled")),
        ("claude-sonnet-5-5", Some("between_tools")),
        (NEWEST, None),
    ] {
        request.model = model.to_owned();
        assert_eq!(body(&request)["thinking"]["type"].as_str(), sent, "{model}");
    }
    assert_eq!(body(&request)["output_config"]["effort"], "low");
    assert_eq!(encoded(&request).unwrap().dropped.len(), 1, "it thinks nevertheless");
}

#[test]
fn a_budget_is_dropped_where_the_api_refuses_it() {
    let mut request = request_to(BUDGET);
    request.thinking = Some(effort(Effort::Low));
    request.tools = vec![function("f")];
    request.choice = Some(Choice::Any);
    assert!(body(&request).get("thinking").is_none(), "a call is forced");
    request.choice = None;
    request.turns.push(turn(Role::Assistant, [call(Some("a"), "f", "{}")]));
    request.turns.push(turn(Role::User, [result("a", None, "x")]));
    assert!(body(&request).get("thinking").is_none(), "there is no reasoning before the call");
    let thought = Content::Reasoning { text: "hm".to_owned() };
    request.turns.insert(1, turn(Role::Assistant, [thought]));
    request.turns[1].blocks[0].signature =
        Some(Signature { format: Format::Anthropic, data: "S".to_owned(), id: None });
    let sent = body(&request);
    assert_eq!(sent["thinking"]["budget_tokens"], 1024);
    let expected = json!({"type": "thinking", "thinking": "hm", "signature": "S"});
    assert_eq!(sent["messages"][1]["content"][0], expected);
}

#[test]
fn foreign_and_unsigned_reasoning_is_dropped() {
    let mut request = request_to(BUDGET);
    let thought = || Content::Reasoning { text: "hm".to_owned() };
    request.turns.push(turn(Role::Assistant, [thought(), thought(), Content::text("x")]));
    request.turns[1].blocks[0].signature =
        Some(Signature { format: Format::Gemini, data: "S".to_owned(), id: None });
    request.turns.push(text_turn(Role::User, "y"));
    let content = &body(&request)["messages"][1]["content"];
    assert_eq!(content, &json!([{"type": "text", "text": "x"}]));
    assert_eq!(encoded(&request).unwrap().dropped, ["/at"]);
}

#[test]
fn sampling_is_reduced_to_what_the_model_takes() {
    let number = |n: f64| Number::from_f64(n);
    let mut request = request_to(BUDGET);
    request.sampling.temperature = number(0.5);
    request.sampling.top_p = number(0.9);
    request.sampling.top_k = Some(40.into());
    let sent = body(&request);
    assert_eq!((&sent["temperature"], &sent["top_k"]), (&json!(0.5), &json!(40)));
    assert!(sent.get("top_p").is_none(), "one of the two");
    request.model = "claude-3-5-haiku-20241022".to_owned();
    assert_eq!(body(&request)["top_p"], 0.9);
    request.model = NEWEST.to_owned();
    let sent = body(&request);
    assert!(["temperature", "top_p", "top_k"].iter().all(|name| sent.get(*name).is_none()));
    assert_eq!(encoded(&request).unwrap().dropped.len(), 3);
    request.sampling.temperature = number(1.0);
    request.sampling.top_p = number(1.0);
    request.sampling.top_k = None;
    assert_eq!(encoded(&request).unwrap().dropped.len(), 0, "1 is the default");
    request.model = BUDGET.to_owned();
    request.sampling.temperature = number(1.5);
    assert_eq!(encoded(&request).unwrap().dropped.len(), 1, "out of range");
}

#[test]
fn a_schema_is_native_or_a_tool() {
    let closed = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let open = json!({"type": "object", "properties": {}});
    let mut request = request_to(BUDGET);
    request.form = Some(schema(closed.clone()));
    let format = json!({"format": {"type": "json_schema", "schema": closed}});
    assert_eq!(body(&request)["output_config"], format);
    request.form = Some(schema(open.clone()));
    let sent = body(&request);
    assert_eq!(sent["tools"], json!([{"name": "city", "input_schema": open}]));
    let choice = json!({"type": "tool", "name": "city", "disable_parallel_tool_use": true});
    assert_eq!(sent["tool_choice"], choice);
    assert_eq!(encoded(&request).unwrap().forced.as_deref(), Some("city"));
    request.tools = vec![function("city")];
    let sent = body(&request);
    assert_eq!(sent["tools"][1]["name"], "city_");
    assert_eq!(sent["tool_choice"], json!({"type": "any"}));
    request.model = NEWEST.to_owned();
    assert!(body(&request)["output_config"].is_object(), "it cannot be made to call a tool");
}

#[test]
fn any_json_is_a_tool_that_takes_any_object() {
    let mut request = request_to(BUDGET);
    request.form = Some(Form::Json);
    let sent = body(&request);
    assert_eq!(sent["tools"], json!([{"name": "answer", "input_schema": {"type": "object"}}]));
    request.model = NEWEST.to_owned();
    assert!(encoded(&request).is_err());
}

#[test]
fn tool_choices_are_encoded() {
    let mut request = request_to(BUDGET);
    request.tools = vec![function("f"), function("g")];
    request.parallel = Some(false);
    for (choice, sent) in [
        (None, json!({"type": "auto", "disable_parallel_tool_use": true})),
        (Some(Choice::Any), json!({"type": "any", "disable_parallel_tool_use": true})),
        (Some(Choice::None), json!({"type": "none"})),
        (
            Some(Choice::Tool("f".to_owned())),
            json!({"type": "tool", "name": "f", "disable_parallel_tool_use": true}),
        ),
    ] {
        request.choice = choice;
        assert_eq!(body(&request)["tool_choice"], sent);
    }
    request.choice = Some(Choice::AnyOf(vec!["g".to_owned()]));
    let sent = body(&request);
    assert_eq!(sent["tools"].as_array().unwrap().len(), 1);
    assert_eq!(sent["tools"][0]["name"], "g");
    request.model = NEWEST.to_owned();
    assert!(encoded(&request).unwrap_err().why.contains("any of a list"));
}

#[test]
fn tool_schemas_are_completed_or_refused() {
    let mut request = request_to(BUDGET);
    let tool = |name: &str, parameters| Tool::Function {
        name: name.to_owned(),
        description: Some("d".to_owned()),
        parameters,
        strict: Some(true),
        cache: None,
        at: "/tools/0".to_owned(),
    };
    request.tools = vec![
        tool("a", None),
        tool("b", Some(json!({"$schema": "x", "properties": {}, "additionalProperties": false}))),
    ];
    let tools = &body(&request)["tools"];
    assert_eq!(tools[0]["input_schema"], json!({"type": "object", "properties": {}}));
    assert!(tools[0].get("strict").is_none());
    assert_eq!(tools[1]["input_schema"]["type"], "object");
    assert_eq!(tools[1]["strict"], true);
    for refused in [tool("a.b", None), tool("a", Some(json!({"type": "string"})))] {
        request.tools = vec![refused];
        assert_eq!(encoded(&request).unwrap_err().at, "/tools/0");
    }
    let json = json!({"google_search": {}});
    request.tools = vec![Tool::Foreign { format: Format::Gemini, json, at: "/tools/0".to_owned() }];
    assert!(encoded(&request).is_err());
}

#[test]
fn the_first_of_too_many_cache_points_are_dropped() {
    let mut request = request_to(BUDGET);
    request.turns = vec![turn(Role::User, (0..6).map(|n| Content::text(n.to_string())))];
    for block in &mut request.turns[0].blocks {
        block.cache = Some(Cache { ttl: Some("5m".to_owned()) });
    }
    let sent = body(&request);
    let blocks = sent["messages"][0]["content"].as_array().unwrap();
    let marked: Vec<bool> =
        blocks.iter().map(|block| block.get("cache_control").is_some()).collect();
    assert_eq!(marked, [false, false, true, true, true, true]);
}

#[test]
fn media_are_converted_or_refused() {
    let media = |kind, source| {
        Content::Media(Media { kind, source, name: Some("n".to_owned()), detail: None })
    };
    let base64 = |media_type: &str| Source::Base64 {
        media_type: media_type.to_owned(),
        data: "aGk=".to_owned(),
    };
    let url = |url: &str| Source::Url { url: url.to_owned(), media_type: None };
    let mut request = request_to(BUDGET);
    request.turns = vec![turn(
        Role::User,
        [
            media(MediaKind::Image, url("https://a/b")),
            media(MediaKind::Document, base64("application/pdf")),
            media(MediaKind::Document, base64("text/markdown")),
        ],
    )];
    let sent = body(&request);
    let expected = json!([
        {"type": "image", "source": {"type": "url", "url": "https://a/b"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}, "title": "n"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}, "title": "n"},
    ]);
    assert_eq!(sent["messages"][0]["content"], expected);
    for refused in [
        media(MediaKind::Audio, base64("audio/wav")),
        media(MediaKind::Image, url("gs://a/b")),
        media(MediaKind::Document, base64("application/msword")),
        media(MediaKind::Image, Source::File { format: Format::Gemini, id: "f".to_owned() }),
    ] {
        request.turns = vec![turn(Role::User, [refused])];
        assert_eq!(encoded(&request).unwrap_err().at, "/at");
    }
}

#[test]
fn a_stop_sequence_of_white_space_is_refused() {
    let mut request = request_to(BUDGET);
    request.stop = vec!["END".to_owned()];
    assert_eq!(body(&request)["stop_sequences"], json!(["END"]));
    request.stop.push("\n\n".to_owned());
    assert!(encoded(&request).is_err());
}

#[test]
fn a_user_id_that_is_too_long_is_dropped() {
    let mut request = request_to(BUDGET);
    request.user = Some("u".repeat(512));
    assert!(body(&request)["metadata"]["user_id"].is_string());
    request.user = Some("u".repeat(513));
    assert!(body(&request).get("metadata").is_none());
}
