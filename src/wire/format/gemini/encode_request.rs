//! Prints a request for a provider. [`fit`](super::fit) has decided everything before.

use super::part::{Part, parts};
use super::settings::SAMPLING;
use crate::wire::api::Format;
use crate::wire::ir::{Block, Choice, Content, Effort, Form, Request, Role, Thinking, Tool};
use crate::wire::json::write::{List, Object};

/// Encodes a request that has been fitted.
pub fn encode_request(request: &Request) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut body = Object::new(&mut out);
    contents(request, body.list("contents"));
    if !request.system.is_empty() {
        let mut instruction = body.object("systemInstruction");
        instruction.put("parts", &parts(&request.system));
        instruction.end();
    }
    if !request.tools.is_empty() {
        tools(&request.tools, body.list("tools"));
    }
    if let Some(choice) = &request.choice {
        let mut config = body.object("toolConfig");
        let mut calling = config.object("functionCallingConfig");
        match choice {
            Choice::Auto => calling.put("mode", "AUTO"),
            Choice::None => calling.put("mode", "NONE"),
            Choice::Any => calling.put("mode", "ANY"),
            Choice::Tool(name) => calling.put("mode", "ANY").put("allowedFunctionNames", &[name]),
            Choice::AnyOf(names) => calling.put("mode", "ANY").put("allowedFunctionNames", names),
        };
        calling.end();
        config.end();
    }
    let config = generation_config(request);
    if config != b"{}" {
        body.member("generationConfig").extend_from_slice(&config);
    }
    body.end();
    out
}

/// The results of a turn get a content of their own before the rest of the turn.
fn contents(request: &Request, mut contents: List<'_>) {
    for turn in &request.turns {
        let role = if turn.role == Role::Assistant { "model" } else { "user" };
        let is_result = |block: &&Block| matches!(block.content, Content::ToolResult(_));
        let results = parts(turn.blocks.iter().filter(is_result));
        let others = parts(turn.blocks.iter().filter(|block| !is_result(block)));
        for parts in [results, others].iter().filter(|parts: &&Vec<Part<'_>>| !parts.is_empty()) {
            let mut content = contents.object();
            content.put("role", role).put("parts", parts);
            content.end();
        }
    }
    contents.end();
}

fn tools(tools: &[Tool], mut sets: List<'_>) {
    let (mut declarations, mut any) = (Vec::new(), false);
    let mut functions = List::new(&mut declarations);
    for tool in tools {
        match tool {
            // Google has no member for `strict`, nor for cache points.
            Tool::Function { name, description, parameters, strict: _, cache: _, at: _ } => {
                any = true;
                let mut function = functions.object();
                function.put("name", name).put_some("description", description.as_ref());
                // Both APIs take it, and it is free of the limits of `parameters`.
                function.put_some("parametersJsonSchema", parameters.as_ref());
                function.end();
            }
            Tool::Foreign { format: Format::Gemini, json, .. } => {
                crate::wire::json::write::put(sets.element(), json);
            }
            // `fit` refuses them.
            Tool::Foreign { .. } => {}
        }
    }
    functions.end();
    if any {
        let mut set = sets.object();
        set.member("functionDeclarations").extend_from_slice(&declarations);
        set.end();
    }
    sets.end();
}

fn generation_config(request: &Request) -> Vec<u8> {
    let mut out = Vec::new();
    let mut config = Object::new(&mut out);
    config.put_some("maxOutputTokens", request.max_tokens.as_ref());
    let mut sampling = request.sampling.clone();
    for (name, field) in SAMPLING {
        config.put_some(name, field(&mut sampling).as_ref());
    }
    if !request.stop.is_empty() {
        config.put("stopSequences", &request.stop);
    }
    config.put_some("candidateCount", request.candidates.as_ref());
    if let Some(logprobs) = request.logprobs {
        config.put("responseLogprobs", &true).put_some("logprobs", logprobs.top.as_ref());
    }
    match &request.form {
        None => {}
        Some(Form::Json) => {
            config.put("responseMimeType", "application/json");
        }
        Some(Form::Schema { schema, .. }) => {
            config.put("responseMimeType", "application/json").put("responseJsonSchema", schema);
        }
    }
    if let Some(thinking) = &request.thinking {
        thinking_config(thinking, config.object("thinkingConfig"));
    }
    config.end();
    out
}

fn thinking_config(thinking: &Thinking, mut config: Object<'_>) {
    if thinking.shown == Some(true) {
        config.put("includeThoughts", &true);
    }
    config.put_some("thinkingBudget", thinking.budget.as_ref());
    let level = thinking.effort.map(|effort| match effort {
        Effort::None | Effort::Minimal => "MINIMAL",
        Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High | Effort::XHigh | Effort::Max => "HIGH",
    });
    config.put_some("thinkingLevel", level);
    config.end();
}
