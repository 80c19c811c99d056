//! What the models of each vendor do not accept.

use super::encode_request::prompt_blocks;
use super::vendors::{Images, Vendor};
use crate::wire::feature::Feature;
use crate::wire::fit::roles::{self, SystemTurns, TurnRules};
use crate::wire::fit::{Fitting, effort, media};
use crate::wire::ir::{
    Block, Content, Effort, Form, Media, MediaKind, Request, Sampling, Source, Thinking, Tool,
};
use crate::wire::json::fields::Rejected;

const TURN_RULES: TurnRules =
    TurnRules { system: SystemTurns::Keep, is_blank: str::is_empty, opening: None };

/// The words of `reasoning_effort`.
const EFFORTS: [Effort; 5] =
    [Effort::None, Effort::Minimal, Effort::Low, Effort::Medium, Effort::High];

/// Changes the request to one that the model takes.
///
/// # Errors
///
/// When the request sets something that the model does not support and that may not be left out.
pub(crate) fn fit(request: &mut Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    let vendor = Vendor::of_model(&request.model);
    refuse_tools_and_forms(request, fitting)?;
    fit_turns(request, vendor, fitting)?;
    // The member is one string, separated by commas.
    if !request.stop.is_empty()
        && (!vendor.stop || request.stop.iter().any(|stop| stop.contains(',')))
    {
        return Err(fitting.refuse(Feature::StopSequences, ""));
    }
    fit_sampling(&mut request.sampling, vendor, fitting);
    fit_thinking(request, vendor, fitting);
    Ok(())
}

/// No model's `input` has a member for these.
fn refuse_tools_and_forms(request: &Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    if let Some(Tool::Function { at, .. } | Tool::Foreign { at, .. }) = request.tools.first() {
        fitting.keep(Feature::Tools, at)?;
    }
    match request.form {
        None => {}
        Some(Form::Json) => drop(fitting.keep(Feature::JsonObject, "")?),
        Some(Form::Schema { .. }) => drop(fitting.keep(Feature::JsonSchema, "")?),
    }
    Ok(())
}

fn fit_turns(
    request: &mut Request,
    vendor: &Vendor,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    for turn in &mut request.turns {
        turn.blocks.retain(|block| {
            let is_reasoning = matches!(block.content, Content::Reasoning { .. });
            if is_reasoning {
                fitting.omit(Feature::Reasoning, &block.at);
            }
            !is_reasoning
        });
    }
    roles::arrange(request, &TURN_RULES, fitting)?;
    roles::use_instructions_as_conversation(request);
    if request.turns.is_empty() {
        return Err(Rejected::new("", "must contain a message that is not blank"));
    }
    let is_prompt = prompt_blocks(request).is_some();
    if !is_prompt && !vendor.messages {
        let turn = request.turns.get(1).or(request.turns.first());
        let place = turn.map_or("", |turn| place(&turn.blocks));
        return Err(Rejected::new(
            place,
            "must not be there, because the model accepts one user message only",
        ));
    }
    if is_prompt && vendor.system.is_none() && !request.system.is_empty() {
        return Err(Rejected::new(
            place(&request.system),
            "must not be there, because the model accepts no system prompt",
        ));
    }
    if let Some(block) = roles::prefill(request) {
        fitting.keep(Feature::Prefill, &block.at)?;
    }
    fit_blocks(&mut request.system, Images::None, fitting)?;
    // Messages are plain text.
    let images = if is_prompt { vendor.images } else { Images::None };
    for turn in &mut request.turns {
        fit_blocks(&mut turn.blocks, images, fitting)?;
    }
    Ok(())
}

fn place(blocks: &[Block]) -> &str {
    blocks.first().map_or("", |block| &block.at)
}

fn fit_blocks(blocks: &mut [Block], images: Images, fitting: &mut Fitting) -> Result<(), Rejected> {
    let mut images_left = match images {
        Images::None => 0,
        Images::One(_) => 1,
        Images::Many(_) => usize::MAX,
    };
    for block in blocks {
        let at = &block.at;
        if block.cache.take().is_some() {
            fitting.keep(Feature::CachePoint, at)?;
        }
        match &mut block.content {
            Content::Text { .. } | Content::Refusal(_) => {}
            Content::Media(media) => {
                let feature = media::feature(media);
                if !is_image(media) || images_left == 0 {
                    return Err(fitting.refuse(feature, at));
                }
                images_left -= 1;
                fitting.keep(feature, at)?;
                if media.detail.take().is_some() {
                    fitting.keep(Feature::ImageDetail, at)?;
                }
            }
            Content::ToolCall { .. } | Content::ToolResult(_) => {
                return Err(fitting.refuse(Feature::Tools, at));
            }
            Content::Reasoning { .. } | Content::Foreign { .. } => {
                return Err(fitting.refuse(Feature::ServerToolBlock, at));
            }
        }
    }
    Ok(())
}

fn is_image(media: &Media) -> bool {
    media.kind == MediaKind::Image
        && matches!(media.source, Source::Base64 { .. } | Source::Url { .. })
}

fn fit_sampling(sampling: &mut Sampling, vendor: &Vendor, fitting: &mut Fitting) {
    let Sampling { temperature, top_p, top_k, frequency_penalty, presence_penalty, seed: _ } =
        sampling;
    for (number, is_supported, feature) in [
        (temperature, vendor.temperature, Feature::Temperature),
        (top_p, vendor.top_p, Feature::TopP),
        (top_k, vendor.top_k, Feature::TopK),
        (frequency_penalty, vendor.penalties, Feature::FrequencyPenalty),
        (presence_penalty, vendor.penalties, Feature::PresencePenalty),
    ] {
        if number.take_if(|_| !is_supported).is_some() {
            fitting.omit(feature, "");
        }
    }
}

fn fit_thinking(request: &mut Request, vendor: &Vendor, fitting: &mut Fitting) {
    if vendor.effort {
        effort::fit(request, &EFFORTS, fitting);
    }
    let Some(Thinking { effort, budget, shown: _ }) = &mut request.thinking else { return };
    if effort.take_if(|_| !vendor.effort).is_some() {
        fitting.omit(Feature::ReasoningEffort, "");
    }
    if budget.take_if(|_| !vendor.budget).is_some() {
        fitting.omit(Feature::ReasoningBudget, "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api::Format;
    use crate::wire::ir::{Role, Turn};

    fn fit_for(model: &str, request: &mut Request) -> Result<Vec<String>, Rejected> {
        let mut fitting = Fitting::new(Format::Replicate, Format::OpenAiChat);
        model.clone_into(&mut request.model);
        fit(request, &mut fitting)?;
        Ok(fitting.finish().0)
    }

    fn user(contents: Vec<Content>) -> Turn {
        let blocks = contents.into_iter().map(|content| Block::new(content, "/at")).collect();
        Turn { role: Role::User, name: None, blocks }
    }

    fn image() -> Content {
        let source = Source::Url { url: "https://x/y.png".to_owned(), media_type: None };
        Content::Media(Media { kind: MediaKind::Image, source, name: None, detail: None })
    }

    #[test]
    fn a_budget_becomes_an_effort_where_the_model_has_efforts() {
        let budget = |budget| Request {
            turns: vec![user(vec![Content::text("a")])],
            thinking: Some(Thinking { effort: None, budget: Some(budget), shown: None }),
            ..Request::default()
        };
        let mut request = budget(2000);
        assert_eq!(fit_for("openai/gpt-5", &mut request), Ok(Vec::new()));
        let thinking = Thinking { effort: Some(Effort::Medium), budget: None, shown: None };
        assert_eq!(request.thinking, Some(thinking));
        assert_eq!(fit_for("google/gemini-2.5-flash", &mut budget(2000)), Ok(Vec::new()));
        let dropped = vec!["/thinking/budget_tokens".to_owned()];
        assert_eq!(fit_for("openai/gpt-4o", &mut budget(2000)), Ok(dropped));
    }

    #[test]
    fn images_are_accepted_beside_a_prompt_up_to_the_models_number() {
        let request =
            |images| Request { turns: vec![user(vec![image(); images])], ..Request::default() };
        assert!(fit_for("anthropic/claude-4-sonnet", &mut request(1)).is_ok());
        let refused = fit_for("anthropic/claude-4-sonnet", &mut request(2)).unwrap_err();
        assert_eq!(refused.why, "uses images by URL, which the Replicate format does not support");
        assert!(fit_for("openai/gpt-4o", &mut request(2)).is_ok());
        assert!(fit_for("meta/llama", &mut request(1)).is_err());
    }

    #[test]
    fn messages_that_the_model_cannot_take_are_refused_at_their_place() {
        let mut request = Request {
            system: vec![Block::new(Content::text("s"), "/s")],
            turns: vec![user(vec![Content::text("a")])],
            ..Request::default()
        };
        let refused = fit_for("deepseek-ai/deepseek-v3", &mut request).unwrap_err();
        assert_eq!(refused.at, "/s");
        assert_eq!(refused.why, "must not be there, because the model accepts no system prompt");
    }

    #[test]
    fn consecutive_messages_of_the_user_are_one_prompt() {
        let mut request = Request {
            turns: vec![user(vec![Content::text("a")]), user(vec![Content::text("b")])],
            ..Request::default()
        };
        assert_eq!(fit_for("meta/llama", &mut request), Ok(Vec::new()));
        assert_eq!(request.turns.len(), 1);
    }
}
