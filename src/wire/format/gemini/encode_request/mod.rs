//! A request for a provider.

pub(crate) mod config;
pub(crate) mod contents;

use serde::Serialize;
use serde_json::Value;

use self::config::{Config, config};
use self::contents::{Content, Instructions, contents};
use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::format::quirks::Quirks;
use crate::wire::ir::{Choice, Request, Tool};
use crate::wire::json::fields::Rejected;

/// The longest name of a function.
const LONGEST_NAME: usize = 128;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'r str>,
    contents: Vec<Content<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Instructions<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolSet<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation_config: Option<Config<'r>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ToolSet<'r> {
    #[serde(rename_all = "camelCase")]
    Functions {
        function_declarations: Vec<Function<'r>>,
    },
    Foreign(&'r Value),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Function<'r> {
    name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'r str>,
    /// Of both APIs, and free of the limits of `parameters`.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'r Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'r> {
    function_calling_config: Calling<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Calling<'r> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_function_names: Vec<&'r str>,
}

/// Writes a request for a provider.
///
/// # Errors
///
/// When it cannot be said.
pub fn encode_request(
    request: &Request,
    _quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<Vec<u8>, Rejected> {
    let mut body = prompt(request, fitting)?;
    body.tool_config = tool_config(request, fitting)?;
    body.generation_config = config(request, fitting)?;
    leave_out(request, fitting)?;
    Ok(written(&body))
}

/// Writes the prompt alone, tools included: what is counted. Of the Gemini API it is the
/// `generateContentRequest` of `countTokens` and then names the `model` (`models/NAME`); of Vertex it is the
/// body.
///
/// # Errors
///
/// When it cannot be said.
pub fn encode_prompt(
    request: &Request,
    model: Option<&str>,
    fitting: &mut Fitting,
) -> Result<Vec<u8>, Rejected> {
    let mut body = prompt(request, fitting)?;
    body.model = model;
    Ok(written(&body))
}

fn written(body: &Body<'_>) -> Vec<u8> {
    // Writing into memory cannot fail, and no name in it is anything but a string.
    serde_json::to_vec(body).unwrap_or_default()
}

fn prompt<'r>(request: &'r Request, fitting: &mut Fitting) -> Result<Body<'r>, Rejected> {
    let (contents, system_instruction) = contents(request, fitting)?;
    Ok(Body {
        model: None,
        contents,
        system_instruction,
        tools: tools(request, fitting)?,
        tool_config: None,
        generation_config: None,
    })
}

fn tools<'r>(request: &'r Request, fitting: &mut Fitting) -> Result<Vec<ToolSet<'r>>, Rejected> {
    let (mut functions, mut sets) = (Vec::new(), Vec::new());
    for tool in &request.tools {
        match tool {
            Tool::Function { name, description, parameters, strict, cache, at } => {
                fitting.keep(Feature::Tools, at)?;
                check_name(name, at)?;
                if *strict == Some(true) {
                    fitting.keep(Feature::StrictTools, "")?;
                }
                if cache.is_some() {
                    fitting.keep(Feature::CachePoint, "")?;
                }
                functions.push(Function {
                    name,
                    description: description.as_deref(),
                    parameters_json_schema: parameters.as_ref(),
                });
            }
            Tool::Foreign { format: Format::Gemini, json, .. } => sets.push(ToolSet::Foreign(json)),
            Tool::Foreign { at, .. } => return Err(fitting.refuse(Feature::ServerTool, at)),
        }
    }
    if !functions.is_empty() {
        sets.push(ToolSet::Functions { function_declarations: functions });
    }
    Ok(sets)
}

/// <https://ai.google.dev/api/caching#FunctionDeclaration>
fn check_name(name: &str, at: &str) -> Result<(), Rejected> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_:.-".contains(&byte);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(known) {
        let why = format!(
            "must have a name of at most {LONGEST_NAME} letters, digits, underscores, colons, dots and dashes"
        );
        return Err(Rejected::new(at, why));
    }
    Ok(())
}

fn tool_config<'r>(
    request: &'r Request,
    fitting: &mut Fitting,
) -> Result<Option<ToolConfig<'r>>, Rejected> {
    let functions = request.tools.iter().any(|tool| matches!(tool, Tool::Function { .. }));
    if request.parallel == Some(false) && functions {
        fitting.keep(Feature::SingleToolCall, "")?;
    }
    let (mode, names) = match &request.choice {
        Some(Choice::Auto) => ("AUTO", Vec::new()),
        Some(Choice::None) if fitting.keep(Feature::ToolChoiceNone, "")? => ("NONE", Vec::new()),
        Some(Choice::Any) if fitting.keep(Feature::ToolChoiceAny, "")? => ("ANY", Vec::new()),
        Some(Choice::Tool(name)) if fitting.keep(Feature::ToolChoiceNamed, "")? => {
            ("ANY", vec![name.as_str()])
        }
        Some(Choice::AnyOf(names)) if fitting.keep(Feature::ToolChoiceAnyOf, "")? => {
            ("ANY", names.iter().map(String::as_str).collect())
        }
        None | Some(Choice::None | Choice::Any | Choice::Tool(_) | Choice::AnyOf(_)) => {
            return Ok(None);
        }
    };
    // Of functions alone; without them Google refuses it.
    let calling = Calling { mode, allowed_function_names: names };
    Ok(functions.then_some(ToolConfig { function_calling_config: calling }))
}

/// What no field stands for.
fn leave_out(request: &Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    for (asked, feature) in [
        (request.user.is_some(), Feature::EndUser),
        (request.metadata.as_ref().is_some_and(|all| !all.is_empty()), Feature::Metadata),
        (request.tier.is_some(), Feature::ServiceTier),
        (request.cache_key.is_some(), Feature::PromptCacheKey),
    ] {
        if asked {
            fitting.keep(feature, "")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
