//! A request, as a provider of this format is to get it.

pub(crate) mod messages;
pub(crate) mod tools;

use serde::Serialize;
use serde_json::{Map, Number, Value};

use self::messages::Message;
use self::tools::Chosen;
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::format::quirks::Quirks;
use crate::wire::ir::{Effort, Request, Tier};
use crate::wire::json::fields::Rejected;

/// Members whose names are the same everywhere; those that vendors name differently are in `named`.
#[derive(Serialize)]
struct Body<'r> {
    model: &'r str,
    messages: Vec<Message<'r>>,
    #[serde(flatten)]
    chosen: Chosen<'r>,
    #[serde(flatten)]
    named: Map<String, Value>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'r [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'r Number>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

/// Writes a request for a provider.
///
/// # Errors
///
/// When it cannot be said.
pub fn encode_request(
    request: &Request,
    quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<Vec<u8>, Rejected> {
    let messages = messages::messages(request, quirks, fitting)?;
    let chosen = tools::chosen(request, quirks, fitting)?;
    let mut named = Map::new();
    limits(request, quirks, fitting, &mut named)?;
    sampling(request, quirks, fitting, &mut named)?;
    thinking(request, quirks, fitting, &mut named)?;
    about(request, quirks, fitting, &mut named)?;
    if request.stream && quirks.asks_usage {
        // Always: a caller that did not ask is not shown it.
        named.insert("stream_options".to_owned(), serde_json::json!({ "include_usage": true }));
    }
    let body = Body {
        model: &request.model,
        messages,
        chosen,
        named,
        stop: &request.stop,
        temperature: request.sampling.temperature.as_ref(),
        top_p: request.sampling.top_p.as_ref(),
        stream: request.stream,
    };
    let failed =
        |error: serde_json::Error| Rejected::new("", format!("cannot be written: {error}"));
    serde_json::to_vec(&body).map_err(failed)
}

type Named = Map<String, Value>;

fn limits(
    request: &Request,
    quirks: &Quirks,
    fitting: &mut Fitting,
    named: &mut Named,
) -> Result<(), Rejected> {
    if let Some(most) = request.max_tokens {
        named.insert(quirks.max_tokens.to_owned(), most.into());
    }
    if let Some(several) = request.candidates.filter(|several| *several > 1) {
        if !quirks.several {
            return Err(fitting.refuse(Feature::Candidates, ""));
        }
        named.insert("n".to_owned(), several.into());
    }
    if let Some(logprobs) = request.logprobs {
        if quirks.logprobs {
            named.insert("logprobs".to_owned(), true.into());
            named.extend(logprobs.top.map(|top| ("top_logprobs".to_owned(), top.into())));
        } else {
            fitting.omit(Feature::Logprobs, "");
        }
    }
    Ok(())
}

fn sampling(
    request: &Request,
    quirks: &Quirks,
    fitting: &mut Fitting,
    named: &mut Named,
) -> Result<(), Rejected> {
    let sampling = &request.sampling;
    let mut say = |name: Option<&str>, feature, number: &Option<Number>| {
        if let Some(number) = number {
            match name {
                Some(name) => drop(named.insert(name.to_owned(), Value::Number(number.clone()))),
                None => fitting.omit(feature, ""),
            }
        }
    };
    let penalty = |name| quirks.penalties.then_some(name);
    say(quirks.seed, Feature::Seed, &sampling.seed);
    say(penalty("frequency_penalty"), Feature::FrequencyPenalty, &sampling.frequency_penalty);
    say(penalty("presence_penalty"), Feature::PresencePenalty, &sampling.presence_penalty);
    if quirks.top_k {
        say(Some("top_k"), Feature::TopK, &sampling.top_k);
    } else if sampling.top_k.is_some() {
        fitting.keep(Feature::TopK, "")?;
    }
    Ok(())
}

/// A budget in tokens is said as the effort that comes nearest: the format has no other.
fn thinking(
    request: &Request,
    quirks: &Quirks,
    fitting: &mut Fitting,
    named: &mut Named,
) -> Result<(), Rejected> {
    let Some(thinking) = &request.thinking else { return Ok(()) };
    let feature =
        if thinking.effort.is_some() { Feature::ReasoningEffort } else { Feature::ReasoningBudget };
    let effort = thinking.effort.or_else(|| thinking.budget.map(effort_of));
    if !fitting.keep(feature, "")? {
        return Ok(());
    }
    if quirks.thinking_switch {
        let kind = if effort == Some(Effort::None) { "disabled" } else { "enabled" };
        named.insert("thinking".to_owned(), serde_json::json!({ "type": kind }));
    }
    match effort {
        None => {}
        Some(Effort::None) if quirks.thinking_switch => {}
        Some(effort) => match nearest(effort, quirks.efforts) {
            Some(effort) => {
                named.insert("reasoning_effort".to_owned(), word(effort).into());
            }
            None if quirks.thinking_switch => {}
            None => fitting.omit(feature, ""),
        },
    }
    Ok(())
}

/// The steps are ours: 1024 tokens is the least that Anthropic takes, 24 576 the most of Gemini's Flash
/// models, and the words lie between.
fn effort_of(budget: u64) -> Effort {
    match budget {
        0 => Effort::None,
        1..=4096 => Effort::Low,
        4097..=16384 => Effort::Medium,
        _ => Effort::High,
    }
}

/// The greatest of those known that is not more, or else the least. Not to think is another thing than to
/// think little, so neither becomes the other.
fn nearest(wanted: Effort, known: &[Effort]) -> Option<Effort> {
    if wanted == Effort::None {
        return known.contains(&wanted).then_some(wanted);
    }
    let mut some = known.iter().copied().filter(|known| *known != Effort::None);
    let least = some.clone().next();
    some.rfind(|known| *known <= wanted).or(least)
}

fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => "xhigh",
        Effort::Max => "max",
    }
}

fn about(
    request: &Request,
    quirks: &Quirks,
    fitting: &mut Fitting,
    named: &mut Named,
) -> Result<(), Rejected> {
    if let Some(user) = &request.user {
        match quirks.user {
            Some(name) => drop(named.insert(name.to_owned(), user.as_str().into())),
            None => fitting.omit(Feature::EndUser, ""),
        }
    }
    if request.metadata.as_ref().is_some_and(|metadata| !metadata.is_empty()) {
        fitting.keep(Feature::Metadata, "")?;
    }
    if let Some(key) = &request.cache_key {
        if quirks.cache_key {
            named.insert("prompt_cache_key".to_owned(), key.as_str().into());
        } else {
            fitting.omit(Feature::PromptCacheKey, "");
        }
    }
    let tier = match &request.tier {
        None => return Ok(()),
        Some(Tier::Auto) => Some("auto"),
        Some(Tier::Standard) => Some("default"),
        Some(Tier::Flex) => Some("flex"),
        Some(Tier::Priority) => Some("priority"),
        Some(Tier::Other(_)) => None,
    };
    match tier.filter(|_| quirks.tier) {
        Some(tier) => drop(named.insert("service_tier".to_owned(), tier.into())),
        None => fitting.omit(Feature::ServiceTier, ""),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effort_goes_to_the_nearest_word_and_none_stays_none() {
        let known = [Effort::None, Effort::Low, Effort::High];
        assert_eq!(nearest(Effort::None, &known), Some(Effort::None));
        assert_eq!(nearest(Effort::Minimal, &known), Some(Effort::Low));
        assert_eq!(nearest(Effort::Medium, &known), Some(Effort::Low));
        assert_eq!(nearest(Effort::Max, &known), Some(Effort::High));
        assert_eq!(nearest(Effort::None, &known[1..]), None);
        assert_eq!(nearest(Effort::Low, &[]), None);
    }
}
