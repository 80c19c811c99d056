//! `generationConfig`.

use serde::Serialize;
use serde_json::{Number, Value};

use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::ir::{Effort, Form, Request};
use crate::wire::json::fields::Rejected;
use crate::wire::models::gemini::{Family, Order};

#[expect(clippy::struct_field_names, reason = "Google's names")]
#[derive(Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<&'r Number>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'r [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate_count: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    response_logprobs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<&'r Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<Thinking>,
}

#[expect(clippy::struct_field_names, reason = "Google's names")]
#[derive(Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Thinking {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    include_thoughts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<&'static str>,
}

pub(crate) fn config<'r>(
    request: &'r Request,
    fitting: &mut Fitting,
) -> Result<Option<Config<'r>>, Rejected> {
    let family = Family::of(&request.model);
    let mut config = Config::default();
    if request.max_tokens.is_some() && fitting.keep(Feature::MaxTokens, "")? {
        config.max_output_tokens = request.max_tokens;
    }
    if !request.stop.is_empty() && fitting.keep(Feature::StopSequences, "")? {
        config.stop_sequences = &request.stop;
    }
    sampling(request, family, &mut config, fitting)?;
    if let Some(count) = request.candidates.filter(|count| *count != 1)
        && fitting.keep(Feature::Candidates, "")?
    {
        config.candidate_count = Some(count);
    }
    if let Some(wanted) = request.logprobs
        && fitting.keep(Feature::Logprobs, "")?
    {
        config.response_logprobs = true;
        config.logprobs = wanted.top.filter(|top| *top > 0);
    }
    match &request.form {
        Some(Form::Json) if fitting.keep(Feature::JsonObject, "")? => {
            config.response_mime_type = Some("application/json");
        }
        Some(Form::Schema { schema, .. }) if fitting.keep(Feature::JsonSchema, "")? => {
            config.response_mime_type = Some("application/json");
            config.response_json_schema = Some(schema);
        }
        _ => {}
    }
    config.thinking_config = thinking(request, family, fitting)?;
    Ok((config != Config::default()).then_some(config))
}

fn sampling<'r>(
    request: &'r Request,
    family: Family,
    config: &mut Config<'r>,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    let sampling = &request.sampling;
    for (value, feature, field) in [
        (&sampling.temperature, Feature::Temperature, &mut config.temperature),
        (&sampling.top_p, Feature::TopP, &mut config.top_p),
        (&sampling.top_k, Feature::TopK, &mut config.top_k),
        (&sampling.seed, Feature::Seed, &mut config.seed),
    ] {
        if let Some(value) = value
            && fitting.keep(feature, "")?
        {
            *field = Some(value);
        }
    }
    for (value, feature, field) in [
        (&sampling.frequency_penalty, Feature::FrequencyPenalty, &mut config.frequency_penalty),
        (&sampling.presence_penalty, Feature::PresencePenalty, &mut config.presence_penalty),
    ] {
        // None at all is what every model does.
        let Some(value) = value.as_ref().filter(|value| value.as_f64() != Some(0.0)) else {
            continue;
        };
        if !family.takes_penalties() {
            fitting.omit(feature, "");
        } else if fitting.keep(feature, "")? {
            *field = Some(value);
        }
    }
    Ok(())
}

fn thinking(
    request: &Request,
    family: Family,
    fitting: &mut Fitting,
) -> Result<Option<Thinking>, Rejected> {
    let Some(wanted) = &request.thinking else { return Ok(None) };
    let off = wanted.effort == Some(Effort::None);
    let feature =
        if wanted.effort.is_some() { Feature::ReasoningEffort } else { Feature::ReasoningBudget };
    if !family.thinks() || (off && !family.can_stop_thinking()) {
        if !off || family.thinks() {
            fitting.omit(feature, "");
        }
        if !family.thinks() {
            return Ok(None);
        }
    } else if wanted.effort.is_some() || wanted.budget.is_some() {
        fitting.keep(feature, "")?;
    }
    // Who asks for thinking in a format that shows it sees it, unless he says otherwise.
    let mut thinking = Thinking { include_thoughts: !off, ..Thinking::default() };
    if wanted.shown == Some(false) {
        thinking.include_thoughts = false;
    }
    match family.order(wanted) {
        Some(Order::Level(level)) => thinking.thinking_level = Some(level),
        Some(Order::Budget(budget)) => thinking.thinking_budget = Some(budget),
        None => {}
    }
    Ok((thinking != Thinking::default()).then_some(thinking))
}
