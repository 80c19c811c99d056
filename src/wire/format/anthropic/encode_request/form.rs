//! The form of the answer's text.

use serde_json::{Value, json};

use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::ir::{Choice, Form, Request, Tool};
use crate::wire::json::fields::Rejected;
use crate::wire::models::claude::Model;

use super::schema::is_strict;

/// How the form is said.
#[derive(Debug)]
pub(crate) enum Answer<'r> {
    /// The text is free.
    Free,
    /// By `output_config.format`.
    Native(&'r Value),
    /// By a tool that is to be called, and whose arguments are the answer.
    Tool { name: String, description: Option<&'r str>, schema: Value },
}

impl<'r> Answer<'r> {
    /// Natively where the model answers by schema and takes this one. Else by a tool, also of JSON without a
    /// schema, for which the API has nothing: any object is then what the tool takes. A model that cannot be
    /// made to call one gets the schema natively, and says itself what it does not like about it.
    pub(crate) fn of(
        request: &'r Request,
        model: &Model,
        fitting: &mut Fitting,
    ) -> Result<Answer<'r>, Rejected> {
        let (feature, schema, name, description) = match &request.form {
            None => return Ok(Answer::Free),
            Some(Form::Json) => (Feature::JsonObject, None, None, None),
            Some(Form::Schema { name, description, schema, strict: _ }) => {
                (Feature::JsonSchema, Some(schema), name.as_deref(), description.as_deref())
            }
        };
        fitting.keep(feature, "")?;
        match schema {
            Some(schema) if model.schemas && (is_strict(schema) || !model.forced) => {
                Ok(Answer::Native(schema))
            }
            // The answer is a call, and has no text.
            _ if calls_only(request) => Ok(Answer::Free),
            _ if !model.forced => Err(fitting.refuse(feature, "")),
            Some(schema) if !is_object(schema) => Err(fitting.refuse(feature, "")),
            schema => {
                let name = free_name(name, &request.tools);
                fitting.force_tool(&name);
                let schema = schema.cloned().unwrap_or_else(|| json!({"type": "object"}));
                Ok(Answer::Tool { name, description, schema })
            }
        }
    }
}

/// Whether the caller wants a call and nothing else.
fn calls_only(request: &Request) -> bool {
    !request.tools.is_empty()
        && matches!(request.choice, Some(Choice::Any | Choice::Tool(_) | Choice::AnyOf(_)))
}

fn is_object(schema: &Value) -> bool {
    schema.get("type").is_none_or(|kind| kind == "object")
}

/// The schema's own name, if the API takes it for a tool's, and no tool of the caller's has it.
fn free_name(wanted: Option<&str>, tools: &[Tool]) -> String {
    let wanted = wanted.filter(|name| super::tools::is_name(name)).unwrap_or("answer");
    let taken = |name: &str| {
        tools.iter().any(|tool| matches!(tool, Tool::Function { name: own, .. } if own == name))
    };
    let mut name: String = wanted.chars().take(100).collect();
    while taken(&name) {
        name.push('_');
    }
    name
}
