//! Ids of tool calls in the spelling that a target accepts, paired with their results.
//!
//! The same history gives the same ids in each request, so that the provider's prompt cache serves it.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::wire::ir::{Block, Content, Request};

/// What ids a format accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdRule {
    /// The most bytes.
    pub(crate) max_len: usize,
    /// Returns true for bytes that may stand in an id.
    pub(crate) accepts: fn(u8) -> bool,
}

impl IdRule {
    fn takes(self, id: &str) -> bool {
        id.len() <= self.max_len && id.bytes().all(self.accepts)
    }
}

/// Gives every tool call of the conversation an id that the target accepts, and every result the id of its
/// call. A result without an id belongs to the first call of its tool, or of any, that has no result yet.
pub(crate) fn rewrite(request: &mut Request, rule: IdRule) {
    let mut ids = CallIds { rule, made: 0, open: Vec::new(), replaced: Vec::new() };
    for block in request.turns.iter_mut().flat_map(|turn| &mut turn.blocks) {
        ids.block(block);
    }
}

struct CallIds {
    rule: IdRule,
    made: u32,
    /// Calls that came without an id and have no result yet: the id made for it, and the tool.
    open: Vec<(String, String)>,
    /// Ids too long to be spelled out, and the one made in their place.
    replaced: Vec<(String, String)>,
}

impl CallIds {
    fn block(&mut self, block: &mut Block) {
        match &mut block.content {
            Content::ToolCall { id, name, .. } => {
                let new = match id.as_deref() {
                    None | Some("") => {
                        let made = self.make();
                        self.open.push((made.clone(), name.clone()));
                        made
                    }
                    Some(given) => self.spell(given).into_owned(),
                };
                *id = Some(new);
            }
            Content::ToolResult(result) => {
                result.id = if result.id.is_empty() {
                    self.of_open_call(result.name.as_deref())
                } else {
                    self.spell(&result.id).into_owned()
                };
            }
            _ => {}
        }
    }

    fn of_open_call(&mut self, tool: Option<&str>) -> String {
        let by_name = self.open.iter().position(|(_, name)| Some(name.as_str()) == tool);
        match by_name.or((!self.open.is_empty()).then_some(0)) {
            Some(index) => self.open.remove(index).0,
            None => "call_0".to_owned(),
        }
    }

    /// Each byte that the target does not accept becomes `_` and its two hexadecimal digits, so different
    /// ids stay different. An id that is then too long is replaced.
    fn spell<'i>(&mut self, id: &'i str) -> Cow<'i, str> {
        if self.rule.takes(id) {
            return Cow::Borrowed(id);
        }
        let mut spelled = String::with_capacity(id.len());
        for byte in id.bytes() {
            if (self.rule.accepts)(byte) {
                spelled.push(char::from(byte));
            } else {
                // Writing into a string cannot fail.
                let _ = write!(spelled, "_{byte:02x}");
            }
        }
        if self.rule.takes(&spelled) {
            return Cow::Owned(spelled);
        }
        if let Some((_, made)) = self.replaced.iter().find(|(long, _)| long == id) {
            return Cow::Owned(made.clone());
        }
        let made = self.make();
        self.replaced.push((id.to_owned(), made.clone()));
        Cow::Owned(made)
    }

    fn make(&mut self) -> String {
        let made = format!("call_{}", self.made);
        self.made = self.made.saturating_add(1);
        made
    }
}
