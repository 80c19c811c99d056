#![allow(
    clippy::panic,
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "so a test fails, and reads like what it says"
)]

use serde_json::{Value, json};

use super::*;
use crate::wire::format::quirks::PLAIN;
use crate::wire::ir::{
    Block, Cache, Content, Effort, Media, MediaKind, Role, Signature, Source, Thinking, ToolResult,
    Turn,
};

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

fn outcome(id: &str, content: Vec<Content>, is_error: bool) -> Block {
    let content = content.into_iter().map(block).collect();
    block(Content::ToolResult(ToolResult { id: id.to_owned(), name: None, content, is_error }))
}

fn image() -> Content {
    let source = Source::Base64 { media_type: "image/png".to_owned(), data: "AA==".to_owned() };
    Content::Media(Media { kind: MediaKind::Image, source, name: None, detail: None })
}

fn said(request: &Request) -> Result<(Value, Vec<String>), Rejected> {
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
    said(&request).unwrap().0["contents"].take()
}

const FLASH: &str = "gemini-2.5-flash";

#[test]
fn outcomes_stand_together_right_behind_their_calls() {
    let turns = vec![
        user("go"),
        turn(Role::Assistant, vec![call("1", "f"), call("2", "g")]),
        turn(Role::User, vec![outcome("2", vec![Content::text("two"), image()], false)]),
        turn(Role::User, vec![outcome("1", vec![Content::text(" {\"x\":1}")], false)]),
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
fn outcomes_without_ids_follow_the_order_of_their_calls() {
    let turns = vec![
        user("go"),
        turn(Role::Assistant, vec![call("", "f"), call("", "g")]),
        turn(
            Role::User,
            vec![outcome("", vec![], false), outcome("", vec![Content::text("no")], true)],
        ),
    ];
    let parts = json!([
        {"functionResponse": {"name": "f", "response": {"output": ""}}},
        {"functionResponse": {"name": "g", "response": {"error": "no"}}},
    ]);
    assert_eq!(contents(FLASH, turns)[2]["parts"], parts);
}

#[test]
fn an_outcome_of_no_call_is_refused() {
    let turns = vec![user("go"), turn(Role::User, vec![outcome("9", vec![], false)])];
    let error = said(&Request { turns, ..Request::default() }).unwrap_err();
    assert_eq!(error.to_string(), "`/at` answers a call that does not stand before it.");
}

#[test]
fn gemini_3_takes_media_within_outcomes_and_wants_signatures() {
    let sealed = |format, name| {
        let signature = Some(Signature { format, data: "S".to_owned(), id: None });
        Block { signature, ..call(name, name) }
    };
    let old = vec![
        user("go"),
        turn(Role::Assistant, vec![call("1", "f")]),
        turn(Role::User, vec![outcome("1", vec![], false)]),
        turn(Role::Assistant, vec![block(Content::text("done"))]),
    ];
    let turns = [
        old,
        vec![
            user("again"),
            turn(Role::Assistant, vec![sealed(Format::Gemini, "2"), call("3", "g")]),
            turn(Role::User, vec![outcome("2", vec![image()], false), outcome("3", vec![], false)]),
            turn(Role::Assistant, vec![sealed(Format::Anthropic, "4"), call("5", "g")]),
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
fn tools_and_choice_are_said() {
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
    let (body, dropped) = said(&request).unwrap();
    let declared = json!([{"functionDeclarations": [
        {"name": "f.a-b:c", "description": "does", "parametersJsonSchema": {"type": "object"}},
    ]}]);
    assert_eq!(body["tools"], declared);
    let config = json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}});
    assert_eq!(body["toolConfig"], config);
    assert_eq!(dropped.len(), 2, "strict and one call: {dropped:?}");
    let odd = Request { tools: vec![function("a b")], ..request };
    assert_eq!(said(&odd).unwrap_err().at, "/tools/0");
}

#[test]
fn thinking_is_ordered_as_the_model_takes_it() {
    let thinking = |model: &str, effort, budget, shown| {
        let request = Request {
            model: model.to_owned(),
            turns: vec![user("go")],
            thinking: Some(Thinking { effort, budget, shown }),
            ..Request::default()
        };
        let (mut body, dropped) = said(&request).unwrap();
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
fn what_a_model_cannot_is_named() {
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
    let (body, dropped) = said(&request).unwrap();
    assert_eq!(body["systemInstruction"]["parts"], json!([{"text": "be brief"}, {"text": "late"}]));
    assert_eq!(body.get("generationConfig"), None);
    assert_eq!(dropped.len(), 3, "{dropped:?}");
}

#[test]
fn foreign_blocks_files_and_tools_are_refused() {
    let foreign = |format| block(Content::Foreign { format, json: json!({"executableCode": {}}) });
    let request =
        |block| Request { turns: vec![turn(Role::Assistant, vec![block])], ..Request::default() };
    assert_eq!(said(&request(foreign(Format::Anthropic))).unwrap_err().at, "/at");
    let (body, _) = said(&request(foreign(Format::Gemini))).unwrap();
    assert_eq!(body["contents"][0]["parts"], json!([{"executableCode": {}}]));
    let source = Source::File { format: Format::OpenAiChat, id: "file-1".to_owned() };
    let file =
        Content::Media(Media { kind: MediaKind::Document, source, name: None, detail: None });
    assert_eq!(said(&request(block(file))).unwrap_err().at, "/at");
}

#[test]
fn the_prompt_alone_can_be_counted() {
    let request = Request {
        turns: vec![user("go")],
        max_tokens: Some(5),
        choice: Some(Choice::Any),
        ..Request::default()
    };
    let mut fitting = Fitting::new(Format::Gemini, Format::Anthropic);
    let body = encode_prompt(&request, Some("models/m"), &mut fitting).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let contents = json!([{"role": "user", "parts": [{"text": "go"}]}]);
    assert_eq!(body, json!({"model": "models/m", "contents": contents}));
}
