//! What a request asks for by what matters of it, in a form that all formats have in common.

use keymux::wire::ir::{Block, Choice, Content, Media, Request, Role, Source, Tool};
use serde_json::Value;

/// A request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    /// All of it, wherever it stands.
    system: String,
    /// Of each side in turn.
    turns: Vec<(bool, Vec<Said>)>,
    tools: Vec<String>,
    stop: Vec<String>,
}

/// A piece of what is said.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Text(String),
    Call(String, Value),
    ToolResult(String),
    Media,
}

/// What a request asks for.
pub(crate) fn asked(request: &Request) -> Asked {
    let mut asked = Asked { stop: request.stop.clone(), ..Asked::default() };
    for block in &request.system {
        text(block, &mut asked.system);
    }
    for turn in &request.turns {
        let model = turn.role == Role::Assistant;
        for block in &turn.blocks {
            let Some(said) = said(block) else { continue };
            match asked.turns.last_mut() {
                Some((last, all)) if *last == model => push(all, said),
                _ => asked.turns.push((model, vec![said])),
            }
        }
    }
    let name = |tool: &Tool| match tool {
        Tool::Function { name, .. } => name.clone(),
        Tool::Foreign { json, .. } => json.to_string(),
    };
    // Tools that must not be called may as well not be there.
    if request.choice != Some(Choice::None) {
        asked.tools = request.tools.iter().map(name).collect();
    }
    asked
}

impl Asked {
    /// Without what a format adds: a tool that takes the answer, and a word before a conversation that the
    /// model begins.
    pub(crate) fn without_additions(mut self, forced: Option<&str>) -> Asked {
        self.tools.retain(|tool| Some(&**tool) != forced);
        if let [(false, first), (true, _), ..] = &*self.turns
            && **first == [Said::Text(".".to_owned())]
        {
            self.turns.remove(0);
        }
        self
    }
}

/// Texts one behind the other are one.
fn push(all: &mut Vec<Said>, said: Said) {
    match (all.last_mut(), said) {
        (Some(Said::Text(before)), Said::Text(more)) => before.push_str(&more),
        (_, said) => all.push(said),
    }
}

fn said(block: &Block) -> Option<Said> {
    Some(match &block.content {
        Content::Text { text, .. } | Content::Refusal(text) => {
            let text: String = text.split_whitespace().collect();
            return (!text.is_empty()).then_some(Said::Text(text));
        }
        Content::ToolCall { name, arguments, .. } => {
            let arguments = if arguments.is_empty() { "{}" } else { arguments };
            Said::Call(name.clone(), serde_json::from_str(arguments).unwrap_or_default())
        }
        Content::ToolResult(outcome) => {
            let mut all = String::new();
            outcome.content.iter().for_each(|block| text(block, &mut all));
            Said::ToolResult(all)
        }
        // A document that is text may stand among the text.
        Content::Media(Media { source: Source::Text(text), .. }) => {
            Said::Text(text.split_whitespace().collect())
        }
        Content::Media(_) => Said::Media,
        // Of other formats' thoughts and tools nothing is said.
        Content::Reasoning { .. } | Content::Foreign { .. } => return None,
    })
}

/// Without the spaces that stand between the pieces of a text.
fn text(block: &Block, out: &mut String) {
    if let Content::Text { text, .. } = &block.content {
        out.extend(text.split_whitespace());
    }
}
