//! Requests: what callers send, and what each vendor gets.

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
fn errors_have_the_place_of_the_member() {
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
fn unknown_members_are_kept_apart_from_those_of_vendors() {
    let body = json!({ "messages": [], "min_p": 0.1, "novelty": 1, "top_k": 4, "store": false });
    let request = read(&body);
    assert_eq!(request.unknown, ["novelty"]);
    let asked: Vec<&str> = request.asked.iter().map(|(_, at)| at.as_str()).collect();
    assert_eq!(asked, ["/min_p"]);
    assert!(request.sampling.top_k.is_some());
}

#[test]
fn openai_gets_its_own_names_and_no_reasoning() {
    let (body, encoded) = encode_for(&conversation(), &quirks::PLAIN);
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
fn mistral_gets_ids_of_nine_alphanumerics() {
    let (body, _) = encode_for(&conversation(), &quirks::MISTRAL);
    let messages = &body["messages"];
    let call = messages[2]["tool_calls"][0]["id"].as_str().unwrap();
    assert!(call.len() == 9 && call.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{call}");
    assert_eq!(messages[3]["tool_call_id"], call);
    assert_ne!(messages[4]["tool_call_id"], call);
    assert_eq!(messages[2]["content"][0]["type"], "thinking");
    let kept = json!({ "messages": [{ "role": "assistant", "tool_calls": [
        { "id": "aB3456789", "function": { "name": "f", "arguments": "{}" } },
    ] }, { "role": "tool", "tool_call_id": "aB3456789", "content": "" }] });
    let (body, _) = encode_for(&kept, &quirks::MISTRAL);
    assert_eq!(body["messages"][1]["tool_call_id"], "aB3456789");
}

#[test]
fn reasoning_is_sent_back_to_vendors_that_take_it() {
    let (body, encoded) = encode_for(&conversation(), &quirks::DEEPSEEK);
    assert_eq!(body["messages"][2]["reasoning_content"], "hm");
    assert!(encoded.dropped.is_empty(), "{:?}", encoded.dropped);
    let (body, _) = encode_for(&conversation(), &quirks::OLLAMA);
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
fn tool_choices_have_each_vendors_words() {
    assert_eq!(encode_for(&tools(&json!("required")), &quirks::PLAIN).0["tool_choice"], "required");
    assert_eq!(encode_for(&tools(&json!("required")), &quirks::MISTRAL).0["tool_choice"], "any");
    assert_eq!(refused_at(&tools(&json!("required")), &quirks::ZAI), "/tool_choice");
    let none = encode_for(&tools(&json!("none")), &quirks::ZAI).0;
    assert!(none.get("tools").is_none() && none.get("tool_choice").is_none());

    let some = json!({ "type": "allowed_tools", "allowed_tools": {
        "mode": "required", "tools": [{ "type": "function", "function": { "name": "g" } }] } });
    assert_eq!(read(&tools(&some)).choice, Some(Choice::AnyOf(vec!["g".to_owned()])));
    assert_eq!(encode_for(&tools(&some), &quirks::PLAIN).0["tool_choice"], some);
    let fewer = encode_for(&tools(&some), &quirks::VLLM).0;
    assert_eq!(fewer["tool_choice"], "required");
    assert_eq!(fewer["tools"].as_array().unwrap().len(), 1);
}

#[test]
fn a_schema_becomes_a_tool_for_vendors_without_schemas() {
    let schema = json!({ "type": "json_schema", "json_schema": {
        "name": "person", "schema": { "type": "object", "properties": {} }, "strict": true } });
    let body = with(&json!({ "response_format": schema }));
    assert_eq!(encode_for(&body, &quirks::PLAIN).0["response_format"], schema);
    let (forced, encoded) = encode_for(&body, &quirks::DEEPSEEK);
    assert_eq!(encoded.forced.as_deref(), Some("person"));
    assert_eq!(forced["tool_choice"]["function"]["name"], "person");
    assert!(forced.get("response_format").is_none());
    assert_eq!(refused_at(&body, &quirks::ZAI), "/response_format/json_schema");
}

#[test]
fn thinking_is_sent_as_effort_or_by_a_switch() {
    let effort = |body: &Value, quirks| encode_for(body, quirks).0["reasoning_effort"].clone();
    let max = with(&json!({ "reasoning_effort": "max" }));
    assert_eq!(effort(&max, &quirks::PLAIN), "max");
    assert_eq!(effort(&max, &quirks::GROQ), "high");
    let budget = with(&json!({ "thinking": { "type": "enabled", "budget_tokens": 8000 } }));
    let thinking = Thinking { effort: None, budget: Some(8000), shown: None };
    assert_eq!(read(&budget).thinking, Some(thinking));
    assert_eq!(effort(&budget, &quirks::PLAIN), "medium");
    let off = with(&json!({ "thinking": { "type": "disabled" } }));
    assert_eq!(read(&off).thinking.unwrap().effort, Some(Effort::None));
    assert_eq!(encode_for(&off, &quirks::ZAI).0["thinking"]["type"], "disabled");
}

#[test]
fn images_of_results_follow_in_a_message_of_the_user() {
    let image = json!({ "type": "image_url", "image_url": { "url": "https://x/y.png" } });
    let body = json!({ "messages": [
        { "role": "assistant", "tool_calls": [
            { "id": "a", "function": { "name": "f", "arguments": "{}" } },
            { "id": "b", "function": { "name": "f", "arguments": "{}" } } ] },
        { "role": "tool", "tool_call_id": "a", "content": [image, { "type": "text", "text": "1" }] },
        { "role": "tool", "tool_call_id": "b", "content": "2" },
        { "role": "user", "content": "and?" },
    ] });
    let (body, _) = encode_for(&body, &quirks::PLAIN);
    let messages = body["messages"].as_array().unwrap();
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
    let (body, _) = encode_for(&body, &quirks::PLAIN);
    let id = &body["messages"][0]["tool_calls"][0]["id"];
    assert_eq!(&body["messages"][1]["tool_call_id"], id);
}

#[test]
fn a_prefill_is_sent_to_vendors_that_continue_it() {
    let body = json!({ "messages": [
        { "role": "user", "content": "x" }, { "role": "assistant", "content": "{" },
    ] });
    assert_eq!(encode_for(&body, &quirks::MISTRAL).0["messages"][1]["prefix"], true);
    assert_eq!(refused_at(&body, &quirks::PLAIN), "/messages/1/content");
}

#[test]
fn usage_of_a_stream_is_requested_where_necessary() {
    let body = with(&json!({ "stream": true }));
    assert_eq!(encode_for(&body, &quirks::PLAIN).0["stream_options"]["include_usage"], true);
    assert!(encode_for(&body, &quirks::MISTRAL).0.get("stream_options").is_none());
}

#[test]
fn features_of_callers_have_a_place() {
    use crate::wire::feature::Feature;
    // Those that no caller of this format can set.
    let foreign = Feature::all().filter(|feature| feature.place(Format::OpenAiChat).is_none());
    assert!(foreign.count() < 15);
}

#[test]
fn documents_are_sent_as_each_vendor_takes_them() {
    let file = json!({ "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA" });
    let asked = json!({
        "model": "m",
        "messages": [{ "role": "user", "content": [{ "type": "file", "file": file }] }],
    });
    let part = |quirks| encode_for(&asked, quirks).0["messages"][0]["content"][0].clone();
    assert_eq!(part(&quirks::PLAIN), json!({ "type": "file", "file": file }));
    let url = &file["file_data"];
    assert_eq!(part(&quirks::MISTRAL), json!({ "type": "document_url", "document_url": url }));
    assert_eq!(refused_at(&asked, &quirks::DEEPSEEK), "/messages/0/content/0");
}

#[test]
fn openai_gets_what_its_model_takes() {
    let request = |model: &str| {
        with(&json!({
            "model": model, "user": "u".repeat(65), "max_tokens": 32_000, "temperature": 0.5,
            "reasoning_effort": "high", "tools": [{ "type": "function", "function": {
                "name": "f", "parameters": { "type": "object" } } }],
        }))
    };
    let (body, encoded) = encode_for(&request("gpt-4o"), &quirks::PLAIN);
    assert_eq!(body["max_completion_tokens"], 16_384);
    assert_eq!(body["tools"][0]["function"]["parameters"]["properties"], json!({}));
    assert!(body.get("user").is_none() && body.get("reasoning_effort").is_none());
    assert_eq!(encoded.dropped, ["/user", "/reasoning_effort", "/max_completion_tokens"]);

    let (body, encoded) = encode_for(&request("gpt-5"), &quirks::PLAIN);
    assert_eq!((&body["reasoning_effort"], &body["temperature"]), (&json!("high"), &Value::Null));
    assert_eq!(encoded.dropped, ["/user", "/temperature"]);

    let (body, encoded) = encode_for(&request("llama"), &quirks::COMPATIBLE);
    assert_eq!(body["user"].as_str().unwrap().len(), 65);
    assert_eq!(body["tools"][0]["function"]["parameters"], json!({ "type": "object" }));
    assert!(encoded.dropped.is_empty(), "{:?}", encoded.dropped);
}

#[test]
fn models_that_refuse_tools_while_they_reason_do_not_reason() {
    let request = |model: &str, effort: Option<&str>| {
        let mut request = tools(&json!("auto"));
        request["model"] = json!(model);
        request["reasoning_effort"] = json!(effort);
        request
    };
    let sent = |model, effort| {
        let (body, encoded) = encode_for(&request(model, effort), &quirks::PLAIN);
        (body["reasoning_effort"].clone(), encoded.dropped)
    };
    let place = || vec!["/reasoning_effort".to_owned()];
    assert_eq!(sent("gpt-5.4", Some("high")), (json!("none"), place()));
    assert_eq!(sent("gpt-5.6-luna", None), (json!("none"), Vec::new()));
    assert_eq!(sent("gpt-5.2", Some("high")), (json!("high"), Vec::new()));
    let without_tools = with(&json!({ "model": "gpt-5.6-luna", "reasoning_effort": "high" }));
    assert_eq!(encode_for(&without_tools, &quirks::PLAIN).0["reasoning_effort"], "high");
}

#[test]
fn top_k_is_sent_to_vendors_that_take_it() {
    let body = with(&json!({ "top_k": 4 }));
    assert_eq!(encode_for(&body, &quirks::VLLM).0["top_k"], 4);
    let (without, encoded) = encode_for(&body, &quirks::PLAIN);
    assert!(without.get("top_k").is_none());
    assert_eq!(encoded.dropped, ["/top_k"]);
}

#[test]
fn long_ids_of_calls_are_replaced_for_openai() {
    let id = "x".repeat(41);
    let body = json!({ "messages": [
        { "role": "assistant", "tool_calls": [
            { "id": id, "function": { "name": "f", "arguments": "{}" } } ] },
        { "role": "tool", "tool_call_id": id, "content": "1" },
    ] });
    let (body, _) = encode_for(&body, &quirks::PLAIN);
    let sent = &body["messages"][0]["tool_calls"][0]["id"];
    assert!(sent.as_str().unwrap().len() <= 40, "{sent}");
    assert_eq!(&body["messages"][1]["tool_call_id"], sent);
}
