//! What OpenAI's API and its models refuse, in chat completions and in responses alike.

use serde_json::{Map, Value};

use super::{Fitting, effort};
use crate::wire::feature::Feature;
use crate::wire::ir::{Form, Request, Tool};
use crate::wire::models::openai::{MAX_STOP_SEQUENCES, MAX_USER_CHARS, Model};

/// Fits a request to OpenAI's API, which Azure has as well, and to its model. Of a name that is not known, as
/// deployments of Azure have them, only the limits of the API hold.
pub(crate) fn fit(request: &mut Request, fitting: &mut Fitting) {
    if request.user.as_ref().is_some_and(|user| user.chars().count() > MAX_USER_CHARS) {
        fitting.omit(Feature::EndUser, "");
        request.user = None;
    }
    if request.stop.len() > MAX_STOP_SEQUENCES {
        fitting.omit(Feature::StopSequences, "");
        request.stop.truncate(MAX_STOP_SEQUENCES);
    }
    for tool in &mut request.tools {
        if let Tool::Function { parameters: Some(Value::Object(schema)), .. } = tool {
            // "schema must be a JSON Schema of 'type: "object"', got 'type: "None"'"
            schema.entry("type").or_insert_with(|| "object".into());
            complete(schema);
        }
    }
    if let Some(Form::Schema { schema: Value::Object(schema), .. }) = &mut request.form {
        complete(schema);
    }
    if let Some(model) = Model::by_name(&request.model) {
        fit_to_model(request, &model, fitting);
    }
}

fn fit_to_model(request: &mut Request, model: &Model, fitting: &mut Fitting) {
    effort::fit(request, model.efforts, fitting);
    if model.efforts.is_empty() {
        request.thinking = None;
    }
    let effort = request.thinking.as_ref().and_then(|thinking| thinking.effort);
    let sampling = &mut request.sampling;
    if model.has_fixed_sampling(effort) {
        fitting.omit_set(Feature::Temperature, &mut sampling.temperature);
        fitting.omit_set(Feature::TopP, &mut sampling.top_p);
        fitting.omit_set(Feature::Logprobs, &mut request.logprobs);
    }
    if !model.takes_stop_and_penalties {
        fitting.omit_set(Feature::FrequencyPenalty, &mut sampling.frequency_penalty);
        fitting.omit_set(Feature::PresencePenalty, &mut sampling.presence_penalty);
        if !request.stop.is_empty() {
            fitting.omit(Feature::StopSequences, "");
            request.stop.clear();
        }
    }
    // "max_tokens is too large … supports at most N completion tokens"
    if request.max_tokens.is_some_and(|tokens| tokens > model.max_output_tokens) {
        fitting.omit(Feature::MaxTokens, "");
        request.max_tokens = Some(model.max_output_tokens);
    }
}

/// Adds what OpenAI's check of a schema demands and JSON Schema does not: "object schema missing properties",
/// "array schema missing items".
fn complete(schema: &mut Map<String, Value>) {
    let is = |name: &str| match schema.get("type") {
        Some(Value::String(kind)) => kind == name,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == name),
        _ => false,
    };
    let (object, array) = (is("object"), is("array"));
    let empty = || Value::Object(Map::new());
    if object && !schema.contains_key("properties") {
        schema.insert("properties".to_owned(), empty());
    }
    if array && !schema.contains_key("items") && !schema.contains_key("prefixItems") {
        schema.insert("items".to_owned(), empty());
    }
    for (name, value) in schema {
        match (name.as_str(), value) {
            ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(all)) => {
                all.values_mut().for_each(complete_value);
            }
            ("items" | "additionalProperties" | "not" | "if" | "then" | "else", value)
            | ("anyOf" | "oneOf" | "allOf" | "prefixItems", value @ Value::Array(_)) => {
                complete_value(value);
            }
            _ => {}
        }
    }
}

/// Completes a schema or each of a list of schemas.
fn complete_value(value: &mut Value) {
    match value {
        Value::Object(schema) => complete(schema),
        Value::Array(list) => list.iter_mut().for_each(complete_value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Number, json};

    use super::*;
    use crate::wire::api::Format;
    use crate::wire::ir::{Effort, Logprobs, Thinking};

    fn fitted(model: &str, mut request: Request) -> (Request, Vec<String>) {
        let mut fitting = Fitting::new(Format::OpenAiChat, Format::OpenAiChat);
        model.clone_into(&mut request.model);
        fit(&mut request, &mut fitting);
        (request, fitting.finish().0)
    }

    fn sampled() -> Request {
        let mut request = Request { stop: vec!["x".to_owned()], ..Request::default() };
        let half = Number::from_f64(0.5);
        request.sampling.temperature.clone_from(&half);
        request.sampling.top_p.clone_from(&half);
        request.sampling.frequency_penalty.clone_from(&half);
        request.sampling.presence_penalty = half;
        request.logprobs = Some(Logprobs { top: None });
        request
    }

    #[test]
    fn sampling_is_left_out_where_the_model_refuses_it() {
        for model in ["gpt-5", "o3", "openai/o4-mini"] {
            let (request, dropped) = fitted(model, sampled());
            assert_eq!(request.sampling, crate::wire::ir::Sampling::default(), "{model}");
            assert!(request.stop.is_empty() && request.logprobs.is_none(), "{model}");
            let places = [
                "/temperature",
                "/top_p",
                "/logprobs",
                "/frequency_penalty",
                "/presence_penalty",
                "/stop",
            ];
            assert_eq!(dropped, places, "{model}");
        }
        for model in ["gpt-4o", "gpt-5-chat-latest", "grok-4", "a-deployment"] {
            let (request, dropped) = fitted(model, sampled());
            assert!(request.sampling.temperature.is_some() && dropped.is_empty(), "{model}");
        }
    }

    #[test]
    fn only_efforts_of_the_model_are_sent() {
        let sent = |model: &str, effort| {
            let thinking = Thinking { effort: Some(effort), budget: None, shown: Some(true) };
            let (request, dropped) =
                fitted(model, Request { thinking: Some(thinking), ..Request::default() });
            (request.thinking.and_then(|thinking| thinking.effort), dropped.len())
        };
        assert_eq!(sent("gpt-4o", Effort::High), (None, 1));
        assert_eq!(sent("gpt-4.1", Effort::None), (None, 1));
        assert_eq!(sent("gpt-5", Effort::None), (None, 1));
        assert_eq!(sent("gpt-5", Effort::Max), (Some(Effort::High), 0));
        assert_eq!(sent("o3", Effort::Minimal), (Some(Effort::Low), 0));
        assert_eq!(sent("gpt-5.1", Effort::None), (Some(Effort::None), 0));
        assert_eq!(sent("gpt-5.2", Effort::Max), (Some(Effort::XHigh), 0));
        assert_eq!(sent("a-deployment", Effort::Max), (Some(Effort::Max), 0));
    }

    #[test]
    fn limits_of_the_api_and_of_the_model_hold() {
        let request = || Request {
            user: Some("u".repeat(65)),
            stop: vec!["x".to_owned(); 5],
            max_tokens: Some(64_000),
            ..Request::default()
        };
        let (limited, dropped) = fitted("gpt-4o", request());
        assert_eq!((limited.user, limited.stop.len(), limited.max_tokens), (None, 4, Some(16_384)));
        assert_eq!(dropped, ["/user", "/stop", "/max_completion_tokens"]);
        assert_eq!(fitted("gpt-5", request()).0.max_tokens, Some(64_000));
        assert_eq!(fitted("a-deployment", request()).0.max_tokens, Some(64_000));
    }

    #[test]
    fn schemas_get_the_members_that_openai_demands() {
        let schema = |parameters| {
            let tool = Tool::Function {
                name: "f".to_owned(),
                description: None,
                parameters: Some(parameters),
                strict: None,
                cache: None,
                at: String::new(),
            };
            let (mut request, _) = fitted("", Request { tools: vec![tool], ..Request::default() });
            let Tool::Function { parameters, .. } = request.tools.remove(0) else { panic!() };
            parameters.unwrap()
        };
        assert_eq!(schema(json!({})), json!({ "type": "object", "properties": {} }));
        let nested = json!({ "type": "object", "properties": {
            "type": { "type": ["array", "null"] },
            "b": { "anyOf": [{ "type": "object" }, { "type": "array", "items": { "type": "array" } }] },
            "c": { "const": { "type": "array" } },
        } });
        assert_eq!(
            schema(nested),
            json!({ "type": "object", "properties": {
                "type": { "type": ["array", "null"], "items": {} },
                "b": { "anyOf": [
                    { "type": "object", "properties": {} },
                    { "type": "array", "items": { "type": "array", "items": {} } },
                ] },
                "c": { "const": { "type": "array" } },
            } })
        );
    }
}
