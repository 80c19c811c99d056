//! How much is thought, and what else stands in `additionalModelRequestFields`: each model takes its own.

use serde_json::{Map, Value, json};

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::format::bedrock::models::Model;
use crate::wire::ir::{Content, Effort, Request, Role, Thinking};
use crate::wire::json::fields::Rejected;

/// Claude takes no smaller budget.
/// <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>
const LEAST_BUDGET: u64 = 1024;

/// What is said beside the fields that all models take.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// `additionalModelRequestFields`
    pub fields: Map<String, Value>,
    /// `outputConfig.effort`
    pub effort: Option<&'static str>,
    /// While it thinks, the model takes no other temperature than its own, nor a top k or a low top p.
    pub fixes_sampling: bool,
}

/// Reads what the model takes of the request's wishes. `must_call`: the model is made to call a tool.
pub(crate) fn extra(
    request: &Request,
    model: Model,
    must_call: bool,
    fitting: &mut Fitting,
) -> Result<Extra, Rejected> {
    let mut extra = Extra::default();
    if let Some(thinking) = &request.thinking {
        let said = match model {
            Model::Claude(major, minor) if (major, minor) >= (3, 7) => {
                claude((major, minor), thinking, request, must_call, &mut extra)
            }
            Model::Nova(2) => nova(thinking, request, &mut extra),
            Model::GptOss => gpt_oss(thinking, &mut extra),
            // They do not think, or as much as they like.
            _ => thinking.effort == Some(Effort::None) && thinking.budget.is_none(),
        };
        if !said {
            if thinking.effort.is_some() {
                fitting.omit(Feature::ReasoningEffort, "");
            }
            if thinking.budget.is_some() {
                fitting.omit(Feature::ReasoningBudget, "");
            }
        }
    }
    if let Some(top_k) = &request.sampling.top_k
        && fitting.keep(Feature::TopK, "")?
    {
        match model {
            Model::Claude(..) if !extra.fixes_sampling && !model.samples_by_itself() => {
                extra.fields.insert("top_k".to_owned(), json!(top_k));
            }
            Model::Nova(_) if !extra.fixes_sampling => {
                extra.fields.insert("inferenceConfig".to_owned(), json!({ "topK": top_k }));
            }
            _ => fitting.omit(Feature::TopK, ""),
        }
    }
    Ok(extra)
}

/// Whether it is said.
fn claude(
    version: (u32, u32),
    thinking: &Thinking,
    request: &Request,
    must_call: bool,
    extra: &mut Extra,
) -> bool {
    if thinking.effort == Some(Effort::None) {
        extra.fields.insert("thinking".to_owned(), json!({ "type": "disabled" }));
        return true;
    }
    if thinking.effort.is_none() && thinking.budget.is_none() {
        return true;
    }
    // "Thinking may not be enabled when tool_choice forces tool use."
    if must_call {
        return false;
    }
    let adaptive = version >= (4, 7) || (version >= (4, 6) && thinking.budget.is_none());
    if !adaptive {
        return claude_budget(version, thinking, request, extra);
    }
    let effort = match (thinking.effort, thinking.budget) {
        (Some(effort), _) => effort,
        (None, budget) => effort_of(budget.unwrap_or(LEAST_BUDGET)),
    };
    extra.effort = Some(word_of(effort));
    let mut said = json!({ "type": "adaptive" });
    if version >= (4, 7)
        && let Some(shown) = thinking.shown
    {
        said["display"] = json!(if shown { "summarized" } else { "omitted" });
    }
    extra.fields.insert("thinking".to_owned(), said);
    extra.fixes_sampling = true;
    true
}

fn claude_budget(
    version: (u32, u32),
    thinking: &Thinking,
    request: &Request,
    extra: &mut Extra,
) -> bool {
    let budget = match (thinking.budget, thinking.effort) {
        (Some(budget), _) => budget,
        (None, effort) => budget_of(effort.unwrap_or(Effort::Medium)),
    };
    // It is a part of the answer's tokens.
    let most = request.max_tokens.map_or(u64::MAX, |most| most.saturating_sub(1));
    let budget = budget.max(LEAST_BUDGET).min(most);
    if budget < LEAST_BUDGET || calls_without_thoughts(request) {
        return false;
    }
    if version >= (4, 6) {
        extra.effort = thinking.effort.map(word_of);
    }
    extra
        .fields
        .insert("thinking".to_owned(), json!({ "type": "enabled", "budget_tokens": budget }));
    extra.fixes_sampling = true;
    true
}

/// Whether the conversation stands in the midst of calls that were made without a thought of which the
/// signature is known: Claude refuses to begin to think there. ("Expected `thinking`, but found `tool_use`.")
fn calls_without_thoughts(request: &Request) -> bool {
    let outcomes_last = request.turns.last().is_some_and(|turn| {
        turn.blocks.iter().any(|block| matches!(block.content, Content::ToolResult(_)))
    });
    let last = request.turns.iter().rfind(|turn| turn.role == Role::Assistant);
    outcomes_last
        && last.is_some_and(|turn| {
            !turn.blocks.iter().any(|block| {
                matches!(block.content, Content::Reasoning { .. })
                    && block
                        .signature
                        .as_ref()
                        .is_some_and(|signature| signature.format == Format::Bedrock)
            })
        })
}

/// <https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html>
fn nova(thinking: &Thinking, request: &Request, extra: &mut Extra) -> bool {
    let effort = match (thinking.effort, thinking.budget) {
        (Some(Effort::None), _) => {
            let off = json!({ "type": "disabled" });
            extra.fields.insert("reasoningConfig".to_owned(), off);
            return true;
        }
        (Some(effort), _) => effort,
        (None, Some(budget)) => effort_of(budget),
        (None, None) => return true,
    };
    let word = match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        // With "high" goes neither a temperature, nor a top p, nor a token limit, of which the last binds.
        Effort::High | Effort::XHigh | Effort::Max if request.max_tokens.is_some() => "medium",
        Effort::High | Effort::XHigh | Effort::Max => "high",
    };
    extra.fixes_sampling = word == "high";
    extra.fields.insert(
        "reasoningConfig".to_owned(),
        json!({ "type": "enabled", "maxReasoningEffort": word }),
    );
    true
}

fn gpt_oss(thinking: &Thinking, extra: &mut Extra) -> bool {
    let effort = match (thinking.effort, thinking.budget) {
        (Some(effort), _) => effort,
        (None, Some(budget)) => effort_of(budget),
        (None, None) => return true,
    };
    let word = match effort {
        // It always thinks.
        Effort::None => return false,
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::XHigh | Effort::Max => "high",
    };
    extra.fields.insert("reasoning_effort".to_owned(), json!(word));
    true
}

/// Claude's words.
fn word_of(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => "xhigh",
        Effort::Max => "max",
    }
}

/// The only published table of efforts and budgets:
/// <https://ai.google.dev/gemini-api/docs/openai#thinking>
fn budget_of(effort: Effort) -> u64 {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => 1024,
        Effort::Medium => 8192,
        Effort::High | Effort::XHigh | Effort::Max => 24_576,
    }
}

fn effort_of(budget: u64) -> Effort {
    match budget {
        0 => Effort::None,
        1..=1024 => Effort::Low,
        1025..=8192 => Effort::Medium,
        _ => Effort::High,
    }
}
