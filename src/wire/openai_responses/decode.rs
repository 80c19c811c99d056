//! A caller's request.

use std::sync::Arc;

use serde_json::Value;

use super::{echo, input, tools};
use crate::wire::feature::Feature;
use crate::wire::fields::{Fields, Rejected};
use crate::wire::ir::{Block, Content, Effort, Form, Logprobs, Request, Sampling, Thinking, Tier};

const LOGPROBS: &str = "message.output_text.logprobs";

/// Comes by itself: signatures are in the answer wherever there are any.
const ENCRYPTED: &str = "reasoning.encrypted_content";

/// Reads a caller's request.
///
/// # Errors
///
/// When the body is not what the format asks for.
pub fn decode_request(body: &[u8]) -> Result<Request, Rejected> {
    let mut body = Fields::of_body(body)?;
    let echo = echo::of(&body);
    let mut request = Request { stream_usage: true, ..Request::default() };
    request.model = body.text("model")?.unwrap_or_default();
    request.stream = body.flag("stream")?.unwrap_or(false);
    if let Some(text) = body.text("instructions")?.filter(|text| !text.is_empty()) {
        request.system.push(Block::new(Content::text(text), body.at("instructions")));
    }
    let elsewhere = ["previous_response_id", "conversation", "prompt"];
    if !body.has("input") && !elsewhere.iter().any(|name| body.has(name)) {
        return Err(body.must("input", "is missing"));
    }
    input::read(&mut body, &mut request)?;
    tools::read(&mut body, &mut request)?;
    request.thinking = thinking(&mut body, &mut request)?;
    text(&mut body, &mut request)?;
    request.max_tokens = body.count("max_output_tokens")?;
    request.sampling = Sampling {
        temperature: body.number("temperature")?,
        top_p: body.number("top_p")?,
        ..Sampling::default()
    };
    include(&mut body, &mut request)?;
    request.metadata = body.fields("metadata")?.map(Fields::into_left);
    let user = body.text("user")?;
    request.user = body.text("safety_identifier")?.or(user);
    request.cache_key = body.text("prompt_cache_key")?;
    request.tier = body.text("service_tier")?.map(tier);
    features(&mut body, &mut request)?;
    request.unknown.extend(body.left().map(str::to_owned));
    request.echo = Some(Arc::new(echo));
    Ok(request)
}

fn thinking(body: &mut Fields, request: &mut Request) -> Result<Option<Thinking>, Rejected> {
    let Some(mut own) = body.fields("reasoning")? else { return Ok(None) };
    let effort = own.text("effort")?.map(|word| effort(&word, &own)).transpose()?;
    let older = own.text("generate_summary")?;
    let shown = own.text("summary")?.or(older).map(|summary| summary != "none");
    request.unknown.extend(own.left().map(|name| own.at(name)));
    let asked = effort.is_some() || shown.is_some();
    Ok(asked.then_some(Thinking { effort, budget: None, shown }))
}

fn effort(word: &str, own: &Fields) -> Result<Effort, Rejected> {
    Ok(match word {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::XHigh,
        "max" => Effort::Max,
        _ => {
            return Err(own.must(
                "effort",
                "must be `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`",
            ));
        }
    })
}

fn text(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    let Some(mut own) = body.fields("text")? else { return Ok(()) };
    // What every model does without being told.
    if own.text("verbosity")?.is_some_and(|word| word != "medium") {
        request.asked.push((Feature::Verbosity, own.at("verbosity")));
    }
    if let Some(mut format) = own.fields("format")? {
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
    request.unknown.extend(own.left().map(|name| own.at(name)));
    Ok(())
}

fn include(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    let top = body.count("top_logprobs")?.map(|top| u32::try_from(top).unwrap_or(u32::MAX));
    let mut wanted = top.is_some_and(|top| top > 0);
    for (what, at) in body.list("include")? {
        match what.as_str() {
            Some(ENCRYPTED) => {}
            Some(LOGPROBS) => wanted = true,
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

/// What has no field, where it is asked for: what is said but is so by itself is not.
fn features(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    let mut asked = |feature, name: &str, body: &Fields| {
        request.asked.push((feature, body.at(name)));
    };
    for (feature, name) in [
        (Feature::StoredConversation, "previous_response_id"),
        (Feature::StoredConversation, "conversation"),
        (Feature::PromptTemplate, "prompt"),
        (Feature::CacheRetention, "prompt_cache_retention"),
        (Feature::CacheRetention, "prompt_cache_options"),
        (Feature::ContextEdits, "context_management"),
        (Feature::ProviderFields, "moderation"),
    ] {
        if body.value(name).is_some() {
            asked(feature, name, body);
        }
    }
    for (feature, name) in [(Feature::Store, "store"), (Feature::Background, "background")] {
        if body.flag(name)? == Some(true) {
            asked(feature, name, body);
        }
    }
    if body.text("truncation")?.is_some_and(|word| word != "disabled") {
        asked(Feature::Truncation, "truncation", body);
    }
    // It pads events so that their length tells nothing; whoever does without it wants what he gets.
    if let Some(mut options) = body.fields("stream_options")? {
        if options.value("include_obfuscation") == Some(Value::Bool(true)) {
            request.unknown.push(options.at("include_obfuscation"));
        }
        request.unknown.extend(options.left().map(|name| options.at(name)));
    }
    Ok(())
}
