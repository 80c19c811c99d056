#![allow(
    clippy::panic,
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "so that a test fails, and takes literals"
)]

use serde_json::{Value, json};

use super::*;
use crate::wire::format::quirks::PLAIN;
use crate::wire::ir::{Cache, Choice, MediaKind, Thinking};

fn block(content: Content) -> Block {
    Block::new(content, "/at")
}

fn turn(role: Role, blocks: Vec<Block>) -> Turn {
    Turn { role, name: None, blocks }
}

fn user(text: &str) -> Turn {
    turn(Role::User, vec![block(Content::text(text))])
}

fn call(id: &str, name: &str) -> Block {
    let id = (!id.is_empty()).then(|| id.to_owned());
    block(Content::ToolCall { id, name: name.to_owned(), arguments: "{\"a\":1}".to_owned() })
}

fn result(id: &str, content: Vec<Content>, is_error: bool) -> Block {
    let content = content.into_iter().map(block).collect();
    block(Content::ToolResult(ToolResult { id: id.to_owned(), name: None, content, is_error }))
}

fn image() -> Content {
    let source = Source::Base64 { media_type: "image/png".to_owned(), data: "AA==".to_owned() };
    Content::Media(Media { kind: MediaKind::Image, source, name: None, detail: None })
}

fn encoded(request: &Request) -> Result<(Value, Vec<String>), Rejected> {
    let encoded = crate::wire::translate::encode_request(
        Format::Gemini,
        Format::OpenAiChat,
        request,
        &PLAIN,
    )?;
    Ok((serde_json::from_slice(&encoded.body).unwrap(), encoded.dropped))
}

fn contents(model: &str, turns: Vec<Turn>) -> Value {
    let request = Request { model: model.to_owned(), turns, ..Request::default() };
    encoded(&request).unwrap().0["contents"].take()
}

const FLASH: &str = "gemini-2.5-flash";

#[test]
fn results_are_in_one_content_directly_after_their_calls() {
    let turns = vec![
        user("go"),
        turn(Role::Assistant, vec![call("1", "f"), call("2", "g")]),
        turn(Role::User, vec![result("2", vec![Content::text("two"), image()], false)]),
        turn(Role::User, vec![result("1", vec![Content::text(" {\"x\":1}")], false)]),
        turn(Role::User, vec![block(Content::text("and?"))]),
    ];
    let response = |id: &str, name: &str, response: Value| json!({"functionResponse": {"id": id, "name": name, "response": response}});
    let calls = ["f", "g"]
        .iter()
        .zip(["1", "2"])
        .map(|(name, id)| json!({"functionCall": {"id": id, "name": name, "args": {"a": 1}}}));
    let picture = json!({"inlineData": {"mimeType": "image/png", "data": "AA=="}});
    let expected = json!([
        {"role": "user", "parts": [{"text": "go"}]},
        {"role": "model", "parts": calls.collect::<Vec<_>>()},
        {"role": "user", "parts": [
            response("2", "g", json!({"output": "two"})), response("1", "f", json!({"x": 1})),
        ]},
        {"role": "user", "parts": [picture, {"text": "and?"}]},
    ]);
    assert_eq!(contents(FLASH, turns), expected);
}

#[test]
fn results_without_ids_are_in_the_order_of_their_calls() {
    let turns = vec![
        user("go"),
        turn(Role::Assistant, vec![call("", "f"), call("", "g")]),
        turn(
            Role::User,
            vec![result("", vec![], false), result("", vec![Content::text("no")], true)],
        ),
    ];
    let parts = json!([
        {"functionResponse": {"name": "f", "response": {"output": ""}}},
        {"functionResponse": {"name": "g", "response": {"error": "no"}}},
    ]);
    assert_eq!(contents(FLASH, turns)[2]["parts"], parts);
}

#[test]
fn a_result_without_a_call_is_refused() {
    let turns = vec![user("go"), turn(Role::User, vec![result("9", vec![], false)])];
    let error = encoded(&Request { turns, ..Request::default() }).unwrap_err();
    assert_eq!(error.to_string(), "`/at` must be the result of a tool call in an earlier turn.");
}

#[test]
fn gemini_3_takes_media_within_results_and_requires_signatures() {
    let signed = |format, name| {
        let signature = Some(Signature { format, data: "S".to_owned(), id: None });
        Block { signature, ..call(name, name) }
    };
    let old = vec![
        user("go"),
        turn(Role::Assistant, vec![call("1", "f")]),
        turn(Role::User, vec![result("1", vec![], false)]),
        turn(Role::Assistant, vec![block(Content::text("done"))]),
    ];
    let turns = [
        old,
        vec![
            user("again"),
            turn(Role::Assistant, vec![signed(Format::Gemini, "2"), call("3", "g")]),
            turn(Role::User, vec![result("2", vec![image()], false), result("3", vec![], false)]),
            turn(Role::Assistant, vec![signed(Format::Anthropic, "4"), call("5", "g")]),
        ],
    ]
    .concat();
    let got = contents("gemini-3-flash-preview", turns);
    let signatures: Vec<_> = got
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|content| content["parts"].as_array().unwrap())
        .filter(|part| part["functionCall"].is_object())
        .map(|part| part["thoughtSignature"].clone())
        .collect();
    assert_eq!(
        json!(signatures),
        json!([null, "S", null, "skip_thought_signature_validator", null])
    );
    let picture = json!([{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]);
    assert_eq!(got[6]["parts"][0]["functionResponse"]["parts"], picture);
}

#[test]
fn tools_and_tool_choice_are_encoded() {
    let function = |name: &str| Tool::Function {
        name: name.to_owned(),
        description: Some("does".to_owned()),
        parameters: Some(json!({"type": "object"})),
        strict: Some(true),
        cache: None,
        at: "/tools/0".to_owned(),
    };
    let request = Request {
        turns: vec![user("go")],
        tools: vec![function("f.a-b:c")],
        choice: Some(Choice::AnyOf(vec!["f".to_owned()])),
        parallel: Some(false),
        ..Request::default()
    };
    let (body, dropped) = encoded(&request).unwrap();
    let declared = json!([{"functionDeclarations": [
        {"name": "f.a-b:c", "description": "does", "parametersJsonSchema": {"type": "object"}},
    ]}]);
    assert_eq!(body["tools"], declared);
    let config = json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}});
    assert_eq!(body["toolConfig"], config);
    assert_eq!(dropped.len(), 2, "strict and one call: {dropped:?}");
    let odd = Request { tools: vec![function("a b")], ..request };
    assert_eq!(encoded(&odd).unwrap_err().at, "/tools/0");
}

#[test]
fn reasoning_is_controlled_as_the_model_takes_it() {
    let thinking = |model: &str, effort, budget, shown| {
        let request = Request {
            model: model.to_owned(),
            turns: vec![user("go")],
            thinking: Some(Thinking { effort, budget, shown }),
            ..Request::default()
        };
        let (mut body, dropped) = encoded(&request).unwrap();
        (body["generationConfig"]["thinkingConfig"].take(), dropped.len())
    };
    assert_eq!(
        thinking(FLASH, Some(Effort::Low), None, None),
        (json!({"includeThoughts": true, "thinkingBudget": 1024}), 0)
    );
    assert_eq!(
        thinking("gemini-3.1-pro-preview", Some(Effort::Max), None, Some(false)),
        (json!({"thinkingLevel": "HIGH"}), 0)
    );
    assert_eq!(thinking(FLASH, Some(Effort::None), None, None), (json!({"thinkingBudget": 0}), 0));
    assert_eq!(
        thinking("gemini-2.5-pro", Some(Effort::None), None, None),
        (json!({"thinkingBudget": 128}), 1)
    );
    assert_eq!(thinking("gemini-2.0-flash", Some(Effort::High), None, None), (json!(null), 1));
    assert_eq!(thinking("gemini-2.0-flash", Some(Effort::None), None, None), (json!(null), 0));
}

#[test]
fn unsupported_settings_are_dropped_and_named() {
    let marked = Block { cache: Some(Cache::default()), ..block(Content::text("go")) };
    let mut request = Request {
        model: FLASH.to_owned(),
        system: vec![block(Content::text("be brief"))],
        turns: vec![
            turn(Role::User, vec![marked]),
            turn(Role::System, vec![block(Content::text("late"))]),
        ],
        user: Some("u".to_owned()),
        ..Request::default()
    };
    request.sampling.frequency_penalty = serde_json::Number::from_f64(0.5);
    request.sampling.presence_penalty = serde_json::Number::from_f64(0.0);
    let (body, dropped) = encoded(&request).unwrap();
    assert_eq!(body["systemInstruction"]["parts"], json!([{"text": "be brief"}, {"text": "late"}]));
    assert_eq!(body.get("generationConfig"), None);
    assert_eq!(dropped.len(), 3, "{dropped:?}");
}

#[test]
fn foreign_blocks_and_files_are_refused() {
    let foreign = |format| block(Content::Foreign { format, json: json!({"executableCode": {}}) });
    let request =
        |block| Request { turns: vec![turn(Role::Assistant, vec![block])], ..Request::default() };
    assert_eq!(encoded(&request(foreign(Format::Anthropic))).unwrap_err().at, "/at");
    let (body, _) = encoded(&request(foreign(Format::Gemini))).unwrap();
    assert_eq!(body["contents"][0]["parts"], json!([{"executableCode": {}}]));
    let source = Source::File { format: Format::OpenAiChat, id: "file-1".to_owned() };
    let file =
        Content::Media(Media { kind: MediaKind::Document, source, name: None, detail: None });
    assert_eq!(encoded(&request(block(file))).unwrap_err().at, "/at");
}

#[test]
fn a_greeting_and_a_call_get_what_google_demands_before_them() {
    let texts = |contents: Value| contents[0]["parts"][0]["text"].as_str().map(str::to_owned);
    let greeting = vec![turn(Role::Assistant, vec![block(Content::text("hi"))]), user("go")];
    assert_eq!(texts(contents(FLASH, greeting)).as_deref(), Some("hi"));
    let cut = vec![
        turn(Role::Assistant, vec![call("1", "f")]),
        turn(Role::User, vec![result("1", vec![], false)]),
    ];
    assert_eq!(texts(contents(FLASH, cut)).as_deref(), Some("."));
    let system = vec![block(Content::text("be brief"))];
    let alone = Request { model: FLASH.to_owned(), system, ..Request::default() };
    let (body, _) = encoded(&alone).unwrap();
    let expected = json!({"contents": [{"role": "user", "parts": [{"text": "be brief"}]}]});
    assert_eq!(body, expected);
    assert_eq!(encoded(&Request::default()).unwrap_err().at, "");
}

#[test]
fn damaged_arguments_and_media_types_are_repaired() {
    let mut damaged = call("1", "f");
    let Content::ToolCall { arguments, .. } = &mut damaged.content else { panic!("no call") };
    *arguments = "{\"a\":".to_owned();
    let source = Source::Base64 { media_type: "IMAGE/JPG".to_owned(), data: "AA==".to_owned() };
    let media = Media { kind: MediaKind::Image, source, name: None, detail: None };
    let turns = vec![
        turn(Role::User, vec![block(Content::Media(media))]),
        turn(Role::Assistant, vec![damaged]),
        turn(Role::User, vec![result("1", vec![], false)]),
    ];
    let got = contents(FLASH, turns);
    assert_eq!(got[0]["parts"][0]["inlineData"]["mimeType"], "image/jpeg");
    assert!(got[1]["parts"][0]["functionCall"]["args"].is_object());
}

#[test]
fn output_tokens_are_limited_to_what_the_model_gives() {
    for (model, expected) in
        [("gemini-2.5-flash", 65_535), ("gemini-2.0-flash", 8192), ("gemma-3-27b-it", 100_000)]
    {
        let request = Request {
            model: model.to_owned(),
            turns: vec![user("go")],
            max_tokens: Some(100_000),
            ..Request::default()
        };
        let (body, dropped) = encoded(&request).unwrap();
        assert_eq!(body["generationConfig"]["maxOutputTokens"], expected, "{model}");
        assert_eq!(dropped.len(), usize::from(expected < 100_000), "{dropped:?}");
    }
}
