//! Tools, and whether they are to be called.

use serde_json::{Map, Value};

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::ir::{Cache, Choice, Request, Tool};
use crate::wire::json::fields::Rejected;
use crate::wire::json::write::{List, Object, put};
use crate::wire::models::claude::Model;

use super::Written;
use super::blocks::Said;
use super::form::Answer;
use super::schema::is_strict;

/// The most strict tools of a request.
/// <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>
const MOST_STRICT: usize = 20;

/// Whether the API takes it for a tool's name: `^[a-zA-Z0-9_-]{1,128}$`.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A tool's prompt-cache mark.
pub(crate) fn mark(tool: &Tool) -> Option<&Cache> {
    match tool {
        Tool::Function { cache, .. } => cache.as_ref(),
        Tool::Foreign { .. } => None,
    }
}

/// What is said as `tool_choice`.
#[derive(Debug)]
pub(crate) struct Wanted<'r> {
    kind: &'static str,
    name: Option<&'r str>,
    one: bool,
    /// The tools that are left to choose from; empty: all.
    only: &'r [String],
}

impl Wanted<'_> {
    /// Whether a tool must be called.
    pub(crate) fn forces(&self) -> bool {
        matches!(self.kind, "any" | "tool")
    }

    pub(crate) fn write(&self, body: &mut Object<'_>) {
        let mut choice = body.object("tool_choice");
        choice.put("type", self.kind).put_some("name", self.name);
        if self.one {
            choice.raw("disable_parallel_tool_use", "true");
        }
        choice.end();
    }
}

/// Whether tools are to be called. One of several is one of only those that are told, which comes to the
/// same. Beside the tool that holds the answer the caller's own may be called as well, so any will do.
pub(crate) fn choice<'r>(
    request: &'r Request,
    answer: &'r Answer<'_>,
    model: &Model,
    fitting: &mut Fitting,
) -> Result<Option<Wanted<'r>>, Rejected> {
    let one = request.parallel == Some(false);
    let all = |kind, one| Wanted { kind, name: None, one, only: &[] };
    if let Answer::Tool { name, .. } = answer {
        let alone = request.tools.is_empty() || request.choice == Some(Choice::None);
        let by_name = Wanted { kind: "tool", name: Some(name), one: true, only: &[] };
        return Ok(Some(if alone { by_name } else { all("any", one) }));
    }
    if request.tools.is_empty() {
        return Ok(None);
    }
    let (feature, wanted) = match &request.choice {
        None if !one => return Ok(None),
        None | Some(Choice::Auto) => (None, all("auto", one)),
        // It calls none, so not several at once either.
        Some(Choice::None) => (Some(Feature::ToolChoiceNone), all("none", false)),
        Some(Choice::Any) => (Some(Feature::ToolChoiceAny), all("any", one)),
        Some(Choice::Tool(name)) => {
            let wanted = Wanted { kind: "tool", name: Some(name), one, only: &[] };
            (Some(Feature::ToolChoiceNamed), wanted)
        }
        Some(Choice::AnyOf(names)) => {
            let wanted = Wanted { kind: "any", name: None, one, only: names };
            (Some(Feature::ToolChoiceAnyOf), wanted)
        }
    };
    if let Some(feature) = feature {
        fitting.keep(feature, "")?;
        if wanted.forces() && !model.forced {
            return Err(fitting.refuse(feature, ""));
        }
    }
    if one {
        fitting.keep(Feature::SingleToolCall, "")?;
    }
    Ok(Some(wanted))
}

/// Writes `tools`.
pub(crate) fn write(
    request: &Request,
    answer: &Answer<'_>,
    choice: Option<&Wanted<'_>>,
    model: &Model,
    body: &mut Object<'_>,
    said: &mut Said<'_>,
) -> Written {
    let own = match answer {
        Answer::Tool { name, description, schema } => Some((name, description, schema)),
        Answer::Free | Answer::Native(_) => None,
    };
    if request.tools.is_empty() && own.is_none() {
        return Ok(());
    }
    let only = choice.map(|choice| choice.only).unwrap_or_default();
    let mut list = body.list("tools");
    let mut strict_left = MOST_STRICT;
    for tool in &request.tools {
        said.fitting.keep(Feature::Tools, "")?;
        let left_out = |name: &String| !only.is_empty() && !only.contains(name);
        if !matches!(tool, Tool::Function { name, .. } if left_out(name)) {
            write_tool(tool, model, &mut strict_left, &mut list, said)?;
        }
    }
    if let Some((name, description, schema)) = own {
        let mut object = list.object();
        object.put("name", name).put_some("description", description.as_ref());
        write_schema(Some(schema), &mut object);
        object.end();
    }
    list.end();
    Ok(())
}

fn write_tool(
    tool: &Tool,
    model: &Model,
    strict_left: &mut usize,
    list: &mut List<'_>,
    said: &mut Said<'_>,
) -> Written {
    let (name, description, parameters, strict, cache, at) = match tool {
        Tool::Function { name, description, parameters, strict, cache, at } => {
            (name, description, parameters.as_ref(), strict, cache, at)
        }
        Tool::Foreign { format: Format::Anthropic, json, .. } => {
            put(list.element(), json);
            return Ok(());
        }
        Tool::Foreign { at, .. } => return Err(said.fitting.refuse(Feature::ServerTool, at)),
    };
    if !is_name(name) {
        let why = "has a name that Anthropic's API refuses: up to 128 letters, digits, `_` and `-`";
        return Err(Rejected::new(at, why));
    }
    let kind = parameters.and_then(|schema| schema.get("type"));
    if kind.is_some_and(|kind| kind != "object") || parameters.is_some_and(|all| !all.is_object()) {
        return Err(Rejected::new(at, "must take an object"));
    }
    let mut object = list.object();
    object.put("name", name).put_some("description", description.as_deref());
    write_schema(parameters, &mut object);
    if *strict == Some(true) {
        if *strict_left > 0 && model.schemas && parameters.is_some_and(is_strict) {
            *strict_left -= 1;
            object.raw("strict", "true");
        } else {
            said.fitting.omit(Feature::StrictTools, at);
        }
    }
    if let Some(cache) = cache {
        said.mark(cache, at, &mut object);
    }
    object.end();
    Ok(())
}

/// The API wants a schema of every tool, and `"type": "object"` in it.
fn write_schema(schema: Option<&Value>, tool: &mut Object<'_>) {
    let none = Map::new();
    let members = schema.and_then(Value::as_object).unwrap_or(&none);
    if members.contains_key("type") {
        tool.put("input_schema", members);
        return;
    }
    let mut object = tool.object("input_schema");
    object.raw("type", r#""object""#);
    if members.is_empty() {
        object.raw("properties", "{}");
    }
    for (name, value) in members {
        put(object.named(name), value);
    }
    object.end();
}
