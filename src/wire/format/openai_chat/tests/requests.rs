//! Requests: what callers send, and what each vendor is to get.

use super::*;
use crate::wire::ir::{Choice, Content, Effort, Role, Source, Thinking};

fn read(body: &Value) -> crate::wire::ir::Request {
    decode_request(body.to_string().as_bytes()).unwrap()
}

fn conversation() -> Value {
    json!({
        "model": "m",
        "messages": [
            { "role": "developer", "content": "be brief" },
            { "role": "user", "content": [
                { "type": "text", "text": "look" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,QUJD", "detail": "low" } },
            ] },
            { "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "{}" } },
                { "id": "call_2", "type": "function", "function": { "name": "g", "arguments": "" } },
            ] },
            { "role": "tool", "tool_call_id": "call_1", "content": "1" },
            { "role": "tool", "tool_call_id": "call_2", "content": "2" },
        ],
        "tools": [{ "type": "function", "function": { "name": "f" } }],
        "max_tokens": 9,
    })
}

#[test]
fn messages_become_turns() {
    let request = read(&conversation());
    assert_eq!(request.system[0].content, Content::text("be brief"));
    let roles: Vec<Role> = request.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::User], "results are one turn");
    let Content::Media(image) = &request.turns[0].blocks[1].content else { panic!() };
    let bytes = Source::Base64 { media_type: "image/png".to_owned(), data: "QUJD".to_owned() };
    assert_eq!((&image.source, image.detail.as_deref()), (&bytes, Some("low")));
    assert_eq!(request.turns[2].blocks[1].at, "/messages/4");
    assert_eq!(request.max_tokens, Some(9));
}

#[test]
fn what_is_wrong_is_named_by_its_place() {
    let at = |body: Value| decode_request(body.to_string().as_bytes()).unwrap_err().at;
    assert_eq!(at(json!({})), "/messages");
    assert_eq!(
        at(json!({ "messages": [{ "role": "user", "content": 1 }] })),
        "/messages/0/content"
    );
    assert_eq!(at(json!({ "messages": [{ "role": "x", "content": "" }] })), "/messages/0/role");
    let tool = json!({ "messages": [], "tools": [{ "type": "function", "function": {} }] });
    assert_eq!(at(tool), "/tools/0/function/name");
    assert_eq!(at(json!({ "messages": [], "reasoning_effort": "some" })), "/reasoning_effort");
}

#[test]
fn unknown_names_are_kept_apart_from_vendors_own() {
    let body = json!({ "messages": [], "min_p": 0.1, "novelty": 1, "top_k": 4, "store": false });
    let request = read(&body);
    assert_eq!(request.unknown, ["novelty"]);
    let asked: Vec<&str> = request.asked.iter().map(|(_, at)| at.as_str()).collect();
    assert_eq!(asked, ["/min_p"]);
    assert!(request.sampling.top_k.is_some());
}

#[test]
fn openai_gets_its_own_names_and_no_thoughts() {
    let (body, encoded) = said(&conversation(), &quirks::PLAIN);
    assert_eq!(body["max_completion_tokens"], 9);
    assert_eq!(body["messages"][0], json!({ "role": "system", "content": "be brief" }));
    let assistant = &body["messages"][2];
    assert_eq!(assistant["content"], Value::Null);
    assert!(assistant.get("reasoning_content").is_none());
    assert_eq!(assistant["tool_calls"][1]["function"]["arguments"], "{}");
    assert_eq!(encoded.dropped, ["/messages/2/reasoning_content"]);
    assert_eq!(body["tools"][0]["function"]["parameters"]["type"], "object");
}

#[test]
fn mistral_gets_ids_that_it_takes() {
    let (body, _) = said(&conversation(), &quirks::MISTRAL);
    let messages = &body["messages"];
    let call = messages[2]["tool_calls"][0]["id"].as_str().unwrap();
    assert!(call.len() == 9 && call.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{call}");
    assert_eq!(messages[3]["tool_call_id"], call);
    assert_ne!(messages[4]["tool_call_id"], call);
    assert_eq!(messages[2]["content"][0]["type"], "thinking");
    let kept = json!({ "messages": [{ "role": "assistant", "tool_calls": [
        { "id": "aB3456789", "function": { "name": "f", "arguments": "{}" } },
    ] }, { "role": "tool", "tool_call_id": "aB3456789", "content": "" }] });
    let (body, _) = said(&kept, &quirks::MISTRAL);
    assert_eq!(body["messages"][1]["tool_call_id"], "aB3456789");
}

#[test]
fn thoughts_go_back_where_they_are_wanted() {
    let (body, encoded) = said(&conversation(), &quirks::DEEPSEEK);
    assert_eq!(body["messages"][2]["reasoning_content"], "hm");
    assert!(encoded.dropped.is_empty(), "{:?}", encoded.dropped);
    let (body, _) = said(&conversation(), &quirks::OLLAMA);
    assert_eq!(body["messages"][2]["reasoning"], "hm");
}

fn with(members: &Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
    let members = members.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    body
}

fn tools(choice: &Value) -> Value {
    let tool =
        |name: &str| json!({ "type": "function", "function": { "name": name, "strict": true } });
    with(&json!({ "tools": [tool("f"), tool("g")], "tool_choice": choice }))
}

#[test]
fn tool_choices_are_said_in_each_vendors_words() {
    assert_eq!(said(&tools(&json!("required")), &quirks::PLAIN).0["tool_choice"], "required");
    assert_eq!(said(&tools(&json!("required")), &quirks::MISTRAL).0["tool_choice"], "any");
    assert_eq!(refused(&tools(&json!("required")), &quirks::ZAI), "/tool_choice");
    let none = said(&tools(&json!("none")), &quirks::ZAI).0;
    assert!(none.get("tools").is_none() && none.get("tool_choice").is_none());

    let some = json!({ "type": "allowed_tools", "allowed_tools": {
        "mode": "required", "tools": [{ "type": "function", "function": { "name": "g" } }] } });
    assert_eq!(read(&tools(&some)).choice, Some(Choice::AnyOf(vec!["g".to_owned()])));
    assert_eq!(said(&tools(&some), &quirks::PLAIN).0["tool_choice"], some);
    let fewer = said(&tools(&some), &quirks::VLLM).0;
    assert_eq!(fewer["tool_choice"], "required");
    assert_eq!(fewer["tools"].as_array().unwrap().len(), 1);
}

#[test]
fn a_schema_is_a_tool_where_there_is_none() {
    let schema = json!({ "type": "json_schema", "json_schema": {
        "name": "person", "schema": { "type": "object" }, "strict": true } });
    let body = with(&json!({ "response_format": schema }));
    assert_eq!(said(&body, &quirks::PLAIN).0["response_format"], schema);
    let (forced, encoded) = said(&body, &quirks::DEEPSEEK);
    assert_eq!(encoded.forced.as_deref(), Some("person"));
    assert_eq!(forced["tool_choice"]["function"]["name"], "person");
    assert!(forced.get("response_format").is_none());
    assert_eq!(refused(&body, &quirks::ZAI), "/response_format/json_schema");
}

#[test]
fn thinking_is_said_as_effort_or_by_a_switch() {
    let effort = |body: &Value, quirks| said(body, quirks).0["reasoning_effort"].clone();
    let max = with(&json!({ "reasoning_effort": "max" }));
    assert_eq!(effort(&max, &quirks::PLAIN), "max");
    assert_eq!(effort(&max, &quirks::GROQ), "high");
    let budget = with(&json!({ "thinking": { "type": "enabled", "budget_tokens": 10_000 } }));
    let thinking = Thinking { effort: None, budget: Some(10_000), shown: None };
    assert_eq!(read(&budget).thinking, Some(thinking));
    assert_eq!(effort(&budget, &quirks::PLAIN), "medium");
    let off = with(&json!({ "thinking": { "type": "disabled" } }));
    assert_eq!(read(&off).thinking.unwrap().effort, Some(Effort::None));
    assert_eq!(said(&off, &quirks::ZAI).0["thinking"]["type"], "disabled");
}

#[test]
fn images_of_results_come_behind_them() {
    let image = json!({ "type": "image_url", "image_url": { "url": "https://x/y.png" } });
    let body = json!({ "messages": [
        { "role": "assistant", "tool_calls": [
            { "id": "a", "function": { "name": "f", "arguments": "{}" } },
            { "id": "b", "function": { "name": "f", "arguments": "{}" } } ] },
        { "role": "tool", "tool_call_id": "a", "content": [image, { "type": "text", "text": "1" }] },
        { "role": "tool", "tool_call_id": "b", "content": "2" },
        { "role": "user", "content": "and?" },
    ] });
    let (said, _) = said(&body, &quirks::PLAIN);
    let messages = said["messages"].as_array().unwrap();
    let roles: Vec<&str> = messages.iter().map(|one| one["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["assistant", "tool", "tool", "user"]);
    assert_eq!(messages[1]["content"], "1");
    assert_eq!(messages[3]["content"], json!([image, { "type": "text", "text": "and?" }]));
}

#[test]
fn calls_without_ids_keep_their_results() {
    let body = json!({ "messages": [
        { "role": "assistant", "function_call": { "name": "f", "arguments": "{}" } },
        { "role": "function", "name": "f", "content": "1" },
    ] });
    let (said, _) = said(&body, &quirks::PLAIN);
    let id = &said["messages"][0]["tool_calls"][0]["id"];
    assert_eq!(&said["messages"][1]["tool_call_id"], id);
}

#[test]
fn an_answers_beginning_is_said_to_those_that_go_on_with_it() {
    let body = json!({ "messages": [
        { "role": "user", "content": "x" }, { "role": "assistant", "content": "{" },
    ] });
    assert_eq!(said(&body, &quirks::MISTRAL).0["messages"][1]["prefix"], true);
    assert_eq!(refused(&body, &quirks::PLAIN), "/messages/1/content");
}

#[test]
fn usage_of_a_stream_is_asked_where_it_must_be() {
    let body = with(&json!({ "stream": true }));
    assert_eq!(said(&body, &quirks::PLAIN).0["stream_options"]["include_usage"], true);
    assert!(said(&body, &quirks::MISTRAL).0.get("stream_options").is_none());
}

#[test]
fn every_feature_that_is_asked_for_has_a_place() {
    use crate::wire::feature::Feature;
    // Those that no caller of this format can ask for.
    let foreign = Feature::all().filter(|feature| feature.place(Format::OpenAiChat).is_none());
    assert!(foreign.count() < 15);
}

#[test]
fn documents_go_as_each_vendor_takes_them() {
    let file = json!({ "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA" });
    let asked = json!({
        "model": "m",
        "messages": [{ "role": "user", "content": [{ "type": "file", "file": file }] }],
    });
    let part = |quirks| said(&asked, quirks).0["messages"][0]["content"][0].clone();
    assert_eq!(part(&quirks::PLAIN), json!({ "type": "file", "file": file }));
    let url = &file["file_data"];
    assert_eq!(part(&quirks::MISTRAL), json!({ "type": "document_url", "document_url": url }));
    assert_eq!(refused(&asked, &quirks::DEEPSEEK), "/messages/0/content/0");
}
