//! Fits the tools, the choice among them, and the form of the answer.

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::{Fitting, forced_tool, tool_names};
use crate::wire::format::quirks::{JsonSchema, Quirks};
use crate::wire::ir::{Choice, Form, Request, Tool};
use crate::wire::json::fields::Rejected;

/// What the reference allows in names of functions.
const MAX_NAME_LEN: usize = 64;
const NAME_BYTES: &[u8] = b"_-";

pub(super) fn fit(
    request: &mut Request,
    quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    tool_names::check(request, MAX_NAME_LEN, NAME_BYTES)?;
    for tool in &mut request.tools {
        match tool {
            Tool::Function { strict, cache, at, .. } => {
                if cache.take().is_some() {
                    fitting.keep(Feature::CachePoint, &format!("{at}/cache_control"))?;
                }
                if !quirks.strict_tools {
                    fitting.omit_set(Feature::StrictTools, strict);
                }
            }
            Tool::Foreign { format: Format::OpenAiChat, .. } => {}
            Tool::Foreign { at, .. } => return Err(fitting.refuse(Feature::ServerTool, at)),
        }
    }
    fit_choice(request, quirks, fitting)?;
    match request.parallel {
        _ if request.tools.is_empty() => request.parallel = None,
        Some(false) if !quirks.parallel_tool_calls => {
            fitting.omit_set(Feature::SingleToolCall, &mut request.parallel);
        }
        _ => {}
    }
    fit_form(request, quirks, fitting)?;
    if !quirks.parallel_tool_calls {
        request.parallel = None;
    }
    Ok(())
}

fn fit_choice(request: &mut Request, quirks: &Quirks, fitting: &Fitting) -> Result<(), Rejected> {
    let auto_only = quirks.required_choice.is_none();
    let feature = match &request.choice {
        // The API refuses a choice without tools.
        _ if request.tools.is_empty() => {
            request.choice = None;
            return Ok(());
        }
        None | Some(Choice::Auto) => return Ok(()),
        Some(Choice::None) => {
            if auto_only {
                request.tools.clear();
                request.choice = None;
            }
            return Ok(());
        }
        Some(Choice::Any) => Feature::ToolChoiceAny,
        Some(Choice::Tool(_)) => Feature::ToolChoiceNamed,
        Some(Choice::AnyOf(_)) => Feature::ToolChoiceAnyOf,
    };
    if auto_only {
        return Err(fitting.refuse(feature, ""));
    }
    if let Some(Choice::AnyOf(names)) = &request.choice
        && !quirks.allowed_tools
    {
        request
            .tools
            .retain(|tool| matches!(tool, Tool::Function { name, .. } if names.contains(name)));
        request.choice = Some(Choice::Any);
    }
    Ok(())
}

fn fit_form(request: &mut Request, quirks: &Quirks, fitting: &mut Fitting) -> Result<(), Rejected> {
    match (&request.form, quirks.json_schema) {
        (Some(Form::Schema { .. }), JsonSchema::ForcedTool) => {
            let is_accepted = |name: &str| tool_names::is_accepted(name, MAX_NAME_LEN, NAME_BYTES);
            forced_tool::add(request, is_accepted, fitting)
        }
        (Some(Form::Schema { .. }), JsonSchema::Unsupported) => {
            Err(fitting.refuse(Feature::JsonSchema, ""))
        }
        (Some(Form::Schema { .. }), JsonSchema::Native) | (Some(Form::Json) | None, _) => Ok(()),
    }
}
