//! Decodes a caller's request.

mod messages;
mod tools;

use serde_json::Value;

use crate::wire::feature::Feature;
use crate::wire::ir::{Effort, Form, Logprobs, Request, Sampling, Thinking, Tier};
use crate::wire::json::fields::{Fields, Rejected};

/// Members that vendors have added and many clients send. Other vendors do not have them.
const VENDOR_MEMBERS: [&str; 22] = [
    "min_p",
    "top_a",
    "typical_p",
    "repetition_penalty",
    "length_penalty",
    "min_tokens",
    "ignore_eos",
    "skip_special_tokens",
    "stop_token_ids",
    "best_of",
    "use_beam_search",
    "chat_template",
    "chat_template_kwargs",
    "enable_thinking",
    "reasoning_format",
    "include_reasoning",
    "safe_prompt",
    "prompt_mode",
    "provider",
    "transforms",
    "usage",
    "keep_alive",
];

/// Members without a field in a request, with the feature that they set. An empty value sets nothing.
const OTHER_MEMBERS: [(&str, Feature); 10] = [
    ("verbosity", Feature::Verbosity),
    ("audio", Feature::AudioOutput),
    ("prediction", Feature::Prediction),
    ("web_search_options", Feature::WebSearch),
    ("logit_bias", Feature::LogitBias),
    ("store", Feature::Store),
    ("prompt_cache_retention", Feature::PromptCacheRetention),
    ("moderation", Feature::SafetySettings),
    ("search_parameters", Feature::WebSearch),
    ("plugins", Feature::ServerTool),
];

/// Decodes a caller's request.
///
/// # Errors
///
/// When the body is not of the format; with the place.
pub fn decode_request(body: &[u8]) -> Result<Request, Rejected> {
    let mut body = Fields::of_body(body)?;
    let model = body.text("model")?.unwrap_or_default();
    let mut request = Request { model, ..Request::default() };
    if !body.has("messages") {
        return Err(body.must("messages", "is missing"));
    }
    for (message, at) in body.list("messages")? {
        messages::decode(message, at, &mut request)?;
    }
    tools::decode(&mut body, &mut request)?;
    limits(&mut body, &mut request)?;
    request.thinking = thinking(&mut body, &mut request.asked)?;
    request.form = form(&mut body)?;
    identity(&mut body, &mut request)?;
    other_members(&mut body, &mut request)?;
    request.unknown = body.left().map(str::to_owned).collect();
    Ok(request)
}

fn limits(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    let older = body.count("max_tokens")?;
    request.max_tokens = body.count("max_completion_tokens")?.or(older);
    request.stop = match body.value("stop") {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => {
            let all = all.into_iter().map(|one| match one {
                Value::String(one) => Ok(one),
                _ => Err(body.must("stop", "must be a string or a list of strings")),
            });
            all.collect::<Result<_, _>>()?
        }
        Some(_) => return Err(body.must("stop", "must be a string or a list of strings")),
    };
    // Mistral's name of the seed.
    let random_seed = body.number("random_seed")?;
    request.sampling = Sampling {
        temperature: body.number("temperature")?,
        top_p: body.number("top_p")?,
        top_k: body.number("top_k")?,
        frequency_penalty: body.number("frequency_penalty")?,
        presence_penalty: body.number("presence_penalty")?,
        seed: body.number("seed")?.or(random_seed),
    };
    request.candidates = count(body, "n")?;
    let is_set = body.flag("logprobs")?.unwrap_or(false);
    let top = count(body, "top_logprobs")?;
    request.logprobs = (is_set || top.is_some_and(|top| top > 0)).then_some(Logprobs { top });
    Ok(())
}

fn count(body: &mut Fields, name: &str) -> Result<Option<u32>, Rejected> {
    let count = body.count(name)?.map(u32::try_from).transpose();
    count.map_err(|_| body.must(name, "is too large"))
}

/// Reads `reasoning_effort`, OpenRouter's `reasoning`, and the `thinking` of Z.ai, DeepSeek and LiteLLM.
fn thinking(
    body: &mut Fields,
    asked: &mut Vec<(Feature, String)>,
) -> Result<Option<Thinking>, Rejected> {
    let mut found =
        Thinking { effort: effort(body, "reasoning_effort")?, budget: None, shown: None };
    if let Some(mut reasoning) = body.fields("reasoning")? {
        found.effort = effort(&mut reasoning, "effort")?.or(found.effort);
        found.budget = reasoning.count("max_tokens")?;
        found.shown = reasoning.flag("exclude")?.map(|hidden| !hidden);
        if reasoning.flag("enabled")? == Some(false) {
            found.effort = Some(Effort::None);
        }
    }
    if let Some(mut thinking) = body.fields("thinking")? {
        found.budget = thinking.count("budget_tokens")?.or(found.budget);
        match thinking.text("type")?.as_deref() {
            Some("disabled") => found.effort = Some(Effort::None),
            // It turns on reasoning that already has an effort.
            _ if found.effort.is_some() || found.budget.is_some() => {}
            _ => asked.push((Feature::ProviderFields, thinking.place().to_owned())),
        }
    }
    Ok(Some(found).filter(|found| *found != Thinking { effort: None, budget: None, shown: None }))
}

fn effort(fields: &mut Fields, name: &str) -> Result<Option<Effort>, Rejected> {
    let word = fields.text(name)?;
    match word.as_deref() {
        None | Some("default") => Ok(None),
        Some("ultra") => Ok(Some(Effort::Max)),
        Some(word) => Effort::from_word(word).map(Some).ok_or_else(|| {
            fields.must(name, "must be one of none, minimal, low, medium, high, xhigh and max")
        }),
    }
}

fn form(body: &mut Fields) -> Result<Option<Form>, Rejected> {
    let Some(mut format) = body.fields("response_format")? else { return Ok(None) };
    match format.text("type")?.as_deref() {
        Some("text") | None => Ok(None),
        Some("json_object") => Ok(Some(Form::Json)),
        Some("json_schema") => {
            let missing = format.must("json_schema", "is missing");
            let mut schema = format.fields("json_schema")?.ok_or(missing)?;
            Ok(Some(Form::Schema {
                name: schema.text("name")?,
                description: schema.text("description")?,
                strict: schema.flag("strict")?,
                // Without a schema any object is valid.
                schema: schema
                    .value("schema")
                    .unwrap_or_else(|| serde_json::json!({ "type": "object" })),
            }))
        }
        Some(_) => Err(format.must("type", "must be one of text, json_object and json_schema")),
    }
}

fn identity(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    let user = body.text("user")?;
    request.user = body.text("safety_identifier")?.or(user);
    request.metadata = body.fields("metadata")?.map(Fields::into_left);
    request.tier = body.text("service_tier")?.map(|tier| match tier.as_str() {
        "auto" => Tier::Auto,
        "default" => Tier::Standard,
        "flex" => Tier::Flex,
        "priority" => Tier::Priority,
        _ => Tier::Other(tier),
    });
    request.cache_key = body.text("prompt_cache_key")?;
    request.stream = body.flag("stream")?.unwrap_or(false);
    if let Some(mut options) = body.fields("stream_options")? {
        request.stream_usage = options.flag("include_usage")?.unwrap_or(false);
    }
    Ok(())
}

fn other_members(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    for (modality, at) in body.list("modalities")? {
        match modality.as_str() {
            Some("text") => {}
            Some("audio") => request.asked.push((Feature::AudioOutput, at)),
            Some("image") => request.asked.push((Feature::ImageOutput, at)),
            _ => return Err(Rejected::new(at, "must be one of text, audio and image")),
        }
    }
    for (name, feature) in OTHER_MEMBERS {
        let is_set = body.value(name).is_some_and(|value| match value {
            Value::Bool(is_set) => is_set,
            Value::Array(list) => !list.is_empty(),
            // All members of a search are optional.
            Value::Object(members) => !members.is_empty() || feature == Feature::WebSearch,
            _ => true,
        });
        if is_set {
            request.asked.push((feature, body.at(name)));
        }
    }
    for name in VENDOR_MEMBERS {
        if body.value(name).is_some() {
            request.asked.push((Feature::ProviderFields, body.at(name)));
        }
    }
    Ok(())
}
