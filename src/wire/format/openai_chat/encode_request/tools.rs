//! Tools, the choice among them, and the form of the answer, as a provider is to get them.

use serde::Serialize;
use serde_json::{Value, json};

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::format::quirks::{Quirks, Schema};
use crate::wire::ir::{Choice, Form, Request, Tool};
use crate::wire::json::fields::Rejected;

/// The tool whose arguments are the answer, where the caller gave the schema no name.
const ANSWER: &str = "answer";

#[derive(Default, Serialize)]
pub(crate) struct Chosen<'r> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Offered<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'r>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Offered<'r> {
    Function {
        #[serde(rename = "type")]
        kind: &'static str,
        function: Function<'r>,
    },
    Foreign(&'r Value),
}

#[derive(Serialize)]
struct Function<'r> {
    name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'r str>,
    /// Mistral and others want one even where there are none.
    parameters: Parameters<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Parameters<'r> {
    Some(&'r Value),
    None(Value),
}

#[derive(Serialize)]
struct ResponseFormat<'r> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<JsonSchema<'r>>,
}

#[derive(Serialize)]
struct JsonSchema<'r> {
    name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'r str>,
    schema: &'r Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

pub(crate) fn chosen<'r>(
    request: &'r Request,
    quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<Chosen<'r>, Rejected> {
    let mut chosen = Chosen::default();
    for tool in &request.tools {
        chosen.tools.push(offered(tool, quirks, fitting)?);
    }
    if !chosen.tools.is_empty() {
        choose(&mut chosen, request, quirks, fitting)?;
        parallel(&mut chosen, request, quirks, fitting);
    }
    match &request.form {
        None => {}
        Some(Form::Json) => {
            chosen.response_format =
                Some(ResponseFormat { kind: "json_object", json_schema: None });
        }
        Some(Form::Schema { name, description, schema, strict }) => {
            let name = name.as_deref().unwrap_or(ANSWER);
            let description = description.as_deref();
            let form = JsonSchema { name, description, schema, strict: *strict };
            match quirks.schema {
                Schema::Native => {
                    let json_schema = Some(form);
                    chosen.response_format =
                        Some(ResponseFormat { kind: "json_schema", json_schema });
                }
                Schema::Tool => force(&mut chosen, &form, request, quirks, fitting)?,
                Schema::Never => return Err(fitting.refuse(Feature::JsonSchema, "")),
            }
        }
    }
    Ok(chosen)
}

fn offered<'r>(
    tool: &'r Tool,
    quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<Offered<'r>, Rejected> {
    match tool {
        Tool::Function { name, description, parameters, strict, cache, at } => {
            check_name(name, at)?;
            if cache.is_some() {
                fitting.keep(Feature::CachePoint, &format!("{at}/cache_control"))?;
            }
            if strict.is_some() && !quirks.strict {
                fitting.omit(Feature::StrictTools, "");
            }
            let none = || Parameters::None(json!({ "type": "object", "properties": {} }));
            Ok(Offered::Function {
                kind: "function",
                function: Function {
                    name,
                    description: description.as_deref(),
                    parameters: parameters.as_ref().map_or_else(none, Parameters::Some),
                    strict: strict.filter(|_| quirks.strict),
                },
            })
        }
        Tool::Foreign { format: Format::OpenAiChat, json, .. } => Ok(Offered::Foreign(json)),
        Tool::Foreign { at, .. } => Err(fitting.refuse(Feature::ServerTool, at)),
    }
}

/// The reference's alphabet of function names.
fn check_name(name: &str, at: &str) -> Result<(), Rejected> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(known) {
        return Ok(());
    }
    let why = "has a name that OpenAI's format cannot say: 1 to 64 of a-z, A-Z, 0-9, _ and -";
    Err(Rejected::new(at, why))
}

fn choose(
    chosen: &mut Chosen<'_>,
    request: &Request,
    quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    let Some(choice) = &request.choice else { return Ok(()) };
    let word = |feature, fitting: &Fitting| {
        let refused = || fitting.refuse(feature, "");
        quirks.any.map(Value::from).ok_or_else(refused)
    };
    chosen.tool_choice = Some(match choice {
        Choice::Auto => "auto".into(),
        // Where nothing but `auto` is understood, what is not offered is not called.
        Choice::None if quirks.any.is_none() => {
            chosen.tools.clear();
            return Ok(());
        }
        Choice::None => "none".into(),
        Choice::Any => word(Feature::ToolChoiceAny, fitting)?,
        Choice::Tool(name) => {
            word(Feature::ToolChoiceNamed, fitting)?;
            json!({ "type": "function", "function": { "name": name } })
        }
        Choice::AnyOf(names) if quirks.allowed_tools => allowed(names),
        Choice::AnyOf(names) => {
            chosen.tools.retain(|tool| match tool {
                Offered::Function { function, .. } => {
                    names.iter().any(|name| name == function.name)
                }
                Offered::Foreign(_) => false,
            });
            word(Feature::ToolChoiceAnyOf, fitting)?
        }
    });
    Ok(())
}

fn allowed(names: &[String]) -> Value {
    let tool = |name| json!({ "type": "function", "function": { "name": name } });
    let tools: Vec<Value> = names.iter().map(tool).collect();
    json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": tools } })
}

fn parallel(chosen: &mut Chosen<'_>, request: &Request, quirks: &Quirks, fitting: &mut Fitting) {
    match request.parallel {
        Some(parallel) if quirks.parallel => chosen.parallel_tool_calls = Some(parallel),
        Some(false) => fitting.omit(Feature::SingleToolCall, ""),
        Some(true) | None => {}
    }
}

/// An answer by schema from a vendor without: the arguments of a tool that must be called. Beside the
/// caller's own tools any of all must be.
fn force<'r>(
    chosen: &mut Chosen<'r>,
    form: &JsonSchema<'r>,
    request: &Request,
    quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    let taken = request
        .tools
        .iter()
        .any(|tool| matches!(tool, Tool::Function { name, .. } if name == form.name));
    let any = quirks.any.filter(|_| !taken);
    let any = any.ok_or_else(|| fitting.refuse(Feature::JsonSchema, ""))?;
    check_name(form.name, "/response_format")?;
    let alone = match &request.choice {
        None | Some(Choice::Auto) => chosen.tools.is_empty(),
        Some(Choice::None) => true,
        // A tool must be called first.
        Some(Choice::Any | Choice::Tool(_) | Choice::AnyOf(_)) => return Ok(()),
    };
    if alone {
        chosen.tools.clear();
    }
    fitting.force_tool(form.name);
    chosen.tool_choice = Some(if alone {
        json!({ "type": "function", "function": { "name": form.name } })
    } else {
        any.into()
    });
    chosen.tools.push(Offered::Function {
        kind: "function",
        function: Function {
            name: form.name,
            description: form.description,
            parameters: Parameters::Some(form.schema),
            strict: form.strict.filter(|_| quirks.strict),
        },
    });
    Ok(())
}
