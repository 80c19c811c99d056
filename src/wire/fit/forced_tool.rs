//! Answers by schema from a format or a model that has none: the model is made to call one tool, and the
//! arguments of that call are the answer's text.

use serde_json::{Value, json};

use super::Fitting;
use crate::wire::feature::Feature;
use crate::wire::ir::{Choice, Event, Form, Kind, Request, Stop, Tool};
use crate::wire::json::fields::Rejected;

/// The most bytes of the tool's name. No target accepts fewer than 64; the rest is for making it unique.
const MAX_NAME_LEN: usize = 60;

/// Replaces the request's form by a tool that the model must call. JSON without a schema becomes a tool that
/// takes any object. Beside the caller's tools the model must call any one, so that it can still call those. A
/// request that must call a tool anyway has no text in its answer, so its form is left out.
///
/// # Errors
///
/// When the schema is not one of an object: arguments of tools are objects.
pub(crate) fn add(
    request: &mut Request,
    is_name_accepted: impl Fn(&str) -> bool,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    let (feature, name, description, schema) = match request.form.take() {
        None => return Ok(()),
        Some(Form::Json) => (Feature::JsonObject, None, None, json!({ "type": "object" })),
        Some(Form::Schema { name, description, schema, strict: _ }) => {
            (Feature::JsonSchema, name, description, schema)
        }
    };
    if must_call(request) {
        return Ok(());
    }
    if schema.get("type").is_some_and(|kind| kind != "object") {
        return Err(fitting.refuse(feature, ""));
    }
    let name = free_name(name.filter(|name| is_name_accepted(name)), &request.tools);
    fitting.force_tool(&name);
    if request.tools.is_empty() || request.choice == Some(Choice::None) {
        request.choice = Some(Choice::Tool(name.clone()));
        request.parallel = Some(false);
    } else {
        request.choice = Some(Choice::Any);
    }
    request.tools.push(tool(name, description, schema));
    Ok(())
}

/// Returns true if the answer has to be a call of one of the caller's tools.
pub(crate) fn must_call(request: &Request) -> bool {
    !request.tools.is_empty()
        && matches!(request.choice, Some(Choice::Any | Choice::Tool(_) | Choice::AnyOf(_)))
}

fn tool(name: String, description: Option<String>, schema: Value) -> Tool {
    let at = String::new();
    Tool::Function { name, description, parameters: Some(schema), strict: None, cache: None, at }
}

/// Returns a name that no tool of the caller has.
fn free_name(wanted: Option<String>, tools: &[Tool]) -> String {
    let mut name = wanted.unwrap_or_else(|| "answer".to_owned());
    name.truncate(MAX_NAME_LEN);
    let is_taken = |name: &str| {
        tools.iter().any(|tool| matches!(tool, Tool::Function { name: other, .. } if other == name))
    };
    while is_taken(&name) {
        name.push('_');
    }
    name
}

/// Turns the calls of the forced tool back into text.
#[derive(Clone, Debug)]
pub struct Forced {
    tool: String,
    seen: bool,
}

impl Forced {
    /// For calls of this tool.
    pub fn new(tool: String) -> Forced {
        Forced { tool, seen: false }
    }

    /// Rewrites an event to what it would have been without the tool.
    pub fn undo(&mut self, event: &mut Event) {
        match event {
            Event::Open { kind, .. } => {
                if matches!(kind, Kind::ToolCall { name, .. } if *name == self.tool) {
                    self.seen = true;
                    *kind = Kind::Text;
                }
            }
            Event::Stop { why, raw, .. } if self.seen && *why == Stop::Calls => {
                *why = Stop::End;
                *raw = None;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api::Format;

    fn fitted(request: &mut Request) -> Option<String> {
        let mut fitting = Fitting::new(Format::Anthropic, Format::OpenAiChat);
        add(request, |_| true, &mut fitting).unwrap();
        fitting.finish().1
    }

    fn person() -> Form {
        let (name, schema) = (Some("person".to_owned()), json!({"type": "object"}));
        Form::Schema { name, description: None, schema, strict: None }
    }

    #[test]
    fn the_form_becomes_a_tool_with_a_free_name() {
        let caller = || vec![tool("person".to_owned(), None, json!({}))];
        let mut request = Request { form: Some(person()), tools: caller(), ..Request::default() };
        assert_eq!(fitted(&mut request).as_deref(), Some("person_"));
        assert_eq!((request.form, request.choice), (None, Some(Choice::Any)));
        let mut request = Request {
            form: Some(Form::Json),
            tools: caller(),
            choice: Some(Choice::None),
            ..Request::default()
        };
        assert_eq!(fitted(&mut request).as_deref(), Some("answer"));
        assert_eq!(request.choice, Some(Choice::Tool("answer".to_owned())));
    }

    #[test]
    fn a_request_that_must_call_loses_its_form() {
        let mut request = Request {
            form: Some(person()),
            tools: vec![tool("f".to_owned(), None, json!({}))],
            choice: Some(Choice::Any),
            ..Request::default()
        };
        assert_eq!(fitted(&mut request), None);
        assert_eq!((request.form, request.tools.len()), (None, 1));
    }
}
