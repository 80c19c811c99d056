//! Writing a request for a provider. What the API refuses is known here and nowhere else.
//! <https://platform.claude.com/docs/en/api/messages/create>

pub(crate) mod blocks;
pub(crate) mod form;
pub(crate) mod schema;
pub(crate) mod thinking;
pub(crate) mod tools;
pub(crate) mod turns;

use serde_json::Number;

use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::format::quirks::Quirks;
use crate::wire::ir::{Block, Cache, Content, Request, Tier};
use crate::wire::json::fields::Rejected;

use self::blocks::Said;
use self::form::Answer;
use self::thinking::Plan;
use crate::wire::json::write::Object;
use crate::wire::models::claude::{Model, Samples};

type Written = Result<(), Rejected>;

/// The longest `metadata.user_id`.
const LONGEST_USER: usize = 512;
/// The most prompt-cache marks of a request.
/// <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>
const MOST_MARKS: usize = 4;

/// Writes a request for a provider. `model` and `stream` stand first, for the envelopes of the clouds.
///
/// # Errors
///
/// When it cannot be said.
pub fn encode_request(
    request: &Request,
    _quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<Vec<u8>, Rejected> {
    let model = Model::named(&request.model);
    let answer = Answer::of(request, &model, fitting)?;
    let choice = tools::choice(request, &answer, &model, fitting)?;
    let forced = choice.as_ref().is_some_and(tools::Wanted::forces);
    let turns = turns::arrange(request, &model, fitting)?;
    let plan = Plan::of(request, &model, forced, turns::may_think(request), fitting);
    let mut out = Vec::with_capacity(4096);
    let mut body = Object::new(&mut out);
    body.put("model", &request.model);
    if request.stream {
        body.raw("stream", "true");
    }
    body.put("max_tokens", &plan.max_tokens);
    let mut said = Said::new(fitting, marks(request).saturating_sub(MOST_MARKS));
    tools::write(request, &answer, choice.as_ref(), &model, &mut body, &mut said)?;
    if let Some(choice) = &choice {
        choice.write(&mut body);
    }
    if turns.system_stands_first {
        write_system(&request.system, &mut body, &mut said)?;
    }
    turns.write(&mut body, &mut said)?;
    plan.write(&answer, &mut body);
    write_sampling(request, &model, plan.thinks(), &mut body, fitting)?;
    write_stop(request, &mut body, fitting)?;
    write_rest(request, &mut body, fitting)?;
    body.end();
    Ok(out)
}

fn marks(request: &Request) -> usize {
    let in_blocks = |blocks: &[Block]| blocks.iter().map(marks_of).sum::<usize>();
    let of_tools = request.tools.iter().filter(|tool| tools::mark(tool).is_some()).count();
    let of_turns: usize = request.turns.iter().map(|turn| in_blocks(&turn.blocks)).sum();
    of_tools + in_blocks(&request.system) + of_turns
}

fn marks_of(block: &Block) -> usize {
    let within = match &block.content {
        Content::ToolResult(outcome) => outcome.content.iter().map(marks_of).sum(),
        _ => 0,
    };
    within + usize::from(block.cache.is_some())
}

/// How long a mark lives: the API knows two words.
fn write_mark(cache: &Cache, object: &mut Object<'_>) {
    let mut mark = object.object("cache_control");
    mark.raw("type", r#""ephemeral""#);
    mark.put_some("ttl", cache.ttl.as_deref().filter(|ttl| matches!(*ttl, "5m" | "1h")));
    mark.end();
}

fn write_system(system: &[Block], body: &mut Object<'_>, said: &mut Said<'_>) -> Written {
    if system.iter().all(blocks::is_empty) {
        return Ok(());
    }
    let mut list = body.list("system");
    for block in system {
        let Content::Text { .. } = &block.content else {
            return Err(Rejected::new(&*block.at, "must be text: it is an instruction"));
        };
        blocks::write(block, &mut list, said)?;
    }
    list.end();
    Ok(())
}

/// Numbers that the model would refuse are left out. Thinking goes with neither `temperature` nor `top_k`,
/// and with `top_p` from 0.95 on.
fn write_sampling(
    request: &Request,
    model: &Model,
    thinks: bool,
    body: &mut Object<'_>,
    fitting: &mut Fitting,
) -> Written {
    let sampling = &request.sampling;
    for (feature, value) in [
        (Feature::FrequencyPenalty, &sampling.frequency_penalty),
        (Feature::PresencePenalty, &sampling.presence_penalty),
        (Feature::Seed, &sampling.seed),
    ] {
        if value.is_some() {
            fitting.keep(feature, "")?;
        }
    }
    // 1 is the default, and means nothing where it cannot be said.
    let temperature = sampling.temperature.as_ref().filter(|number| !is_default(number));
    let sampled = model.samples != Samples::None;
    let mut put = |feature, name, value: Option<&Number>, can: bool| {
        let Some(value) = value else { return false };
        if can {
            body.put(name, value);
        } else {
            fitting.omit(feature, "");
        }
        can
    };
    let in_range = temperature.is_some_and(|number| is(number, |n| (0.0..=1.0).contains(&n)));
    let cold =
        put(Feature::Temperature, "temperature", temperature, sampled && !thinks && in_range);
    let top_p = sampling.top_p.as_ref().filter(|number| !is_default(number));
    let high = top_p.is_some_and(|number| is(number, |n| n >= 0.95));
    let alone = !(cold && model.samples == Samples::Either);
    put(Feature::TopP, "top_p", top_p, sampled && alone && (!thinks || high));
    let whole = sampling.top_k.as_ref().is_some_and(Number::is_u64);
    put(Feature::TopK, "top_k", sampling.top_k.as_ref(), sampled && !thinks && whole);
    Ok(())
}

/// Of temperature and `top_p`.
fn is_default(number: &Number) -> bool {
    is(number, |n| (n - 1.0).abs() < f64::EPSILON)
}

fn is(number: &Number, holds: impl Fn(f64) -> bool) -> bool {
    number.as_f64().is_some_and(holds)
}

/// The API refuses a stop sequence of white space alone; without it the answer would go on.
fn write_stop(request: &Request, body: &mut Object<'_>, fitting: &Fitting) -> Written {
    if request.stop.is_empty() {
        return Ok(());
    }
    if request.stop.iter().any(|stop| stop.trim().is_empty()) {
        let Rejected { at, .. } = fitting.refuse(Feature::StopSequences, "");
        return Err(Rejected::new(
            at,
            "holds a stop sequence of white space alone, which Anthropic's API refuses",
        ));
    }
    body.put("stop_sequences", &request.stop);
    Ok(())
}

fn write_rest(request: &Request, body: &mut Object<'_>, fitting: &mut Fitting) -> Written {
    if request.candidates.is_some_and(|wanted| wanted > 1) {
        fitting.keep(Feature::Candidates, "")?;
    }
    for (feature, asked) in [
        (Feature::Logprobs, request.logprobs.is_some()),
        (Feature::PromptCacheKey, request.cache_key.is_some()),
        (Feature::Metadata, request.metadata.as_ref().is_some_and(|all| !all.is_empty())),
    ] {
        if asked {
            fitting.keep(feature, "")?;
        }
    }
    match &request.user {
        Some(user) if user.chars().count() <= LONGEST_USER => {
            let mut metadata = body.object("metadata");
            metadata.put("user_id", user);
            metadata.end();
        }
        Some(_) => fitting.omit(Feature::EndUser, ""),
        None => {}
    }
    match &request.tier {
        Some(Tier::Auto) => {
            body.raw("service_tier", r#""auto""#);
        }
        Some(Tier::Standard) => {
            body.raw("service_tier", r#""standard_only""#);
        }
        Some(Tier::Flex | Tier::Priority | Tier::Other(_)) => {
            fitting.omit(Feature::ServiceTier, "")
        }
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests;
