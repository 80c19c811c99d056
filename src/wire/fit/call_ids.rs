//! Ids of tool calls in the spelling that a target accepts, unique, and paired with their results.
//!
//! The same history gives the same ids in each request, so that the provider's prompt cache serves it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use crate::wire::ir::{Block, Content, Request};

/// The ids that a format accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdRule {
    /// The most bytes.
    pub(crate) max_len: usize,
    /// Returns true for bytes that may stand in an id.
    pub(crate) accepts: fn(u8) -> bool,
}

impl IdRule {
    /// Replaces each byte that is not accepted by `_` and its two hexadecimal digits, so that different ids
    /// stay different.
    pub(crate) fn spell(self, id: &str) -> Cow<'_, str> {
        if id.bytes().all(self.accepts) {
            return Cow::Borrowed(id);
        }
        let mut spelled = String::with_capacity(id.len() + 8);
        for byte in id.bytes() {
            if (self.accepts)(byte) {
                spelled.push(char::from(byte));
            } else {
                // Writing into a string cannot fail.
                let _ = write!(spelled, "_{byte:02x}");
            }
        }
        Cow::Owned(spelled)
    }
}

/// Gives every tool call of the conversation an id that the target accepts and that no other call has, and every
/// result the id of its call: some servers name the first call of every turn `call_0`, and some formats have no
/// ids. A result belongs to the first call of its id that has no result yet; without an id, to the first call
/// without an id of its tool, or of any tool.
pub(crate) fn rewrite(request: &mut Request, rule: IdRule) {
    let mut ids = CallIds {
        rule,
        made: 0,
        used: HashSet::new(),
        latest: HashMap::new(),
        pending: Vec::new(),
    };
    for block in request.turns.iter_mut().flat_map(|turn| &mut turn.blocks) {
        ids.rewrite(block);
    }
}

struct CallIds {
    rule: IdRule,
    /// How many ids were made.
    made: u32,
    used: HashSet<String>,
    /// The caller's id -> the new id of the latest call that had it.
    latest: HashMap<String, String>,
    /// Calls that have no result yet.
    pending: Vec<PendingCall>,
}

struct PendingCall {
    /// The caller's id, or an empty string.
    given: String,
    id: String,
    tool: String,
}

impl CallIds {
    fn rewrite(&mut self, block: &mut Block) {
        match &mut block.content {
            Content::ToolCall { id, name, .. } => {
                let given = id.take().unwrap_or_default();
                let new = self.unique(&given);
                self.used.insert(new.clone());
                self.latest.insert(given.clone(), new.clone());
                *id = Some(new.clone());
                self.pending.push(PendingCall { given, id: new, tool: name.clone() });
            }
            Content::ToolResult(result) => {
                result.id = self.of_result(&result.id, result.name.as_deref());
            }
            _ => {}
        }
    }

    fn of_result(&mut self, given: &str, tool: Option<&str>) -> String {
        let of_same_id = |call: &PendingCall| call.given == given;
        let of_same_tool = |call: &PendingCall| of_same_id(call) && tool == Some(&*call.tool);
        let at = match self.pending.iter().position(of_same_tool) {
            Some(at) if given.is_empty() => Some(at),
            _ => self.pending.iter().position(of_same_id),
        };
        match at {
            Some(at) => self.pending.remove(at).id,
            None if given.is_empty() => "call_0".to_owned(),
            None => match self.latest.get(given) {
                Some(id) => id.clone(),
                None => self.rule.spell(given).into_owned(),
            },
        }
    }

    /// Returns the id in the target's spelling; one that is empty, too long or used already is replaced.
    fn unique(&mut self, given: &str) -> String {
        let spelled = self.rule.spell(given);
        let is_free =
            |id: &str, ids: &CallIds| id.len() <= ids.rule.max_len && !ids.used.contains(id);
        if !spelled.is_empty() && is_free(&spelled, self) {
            return spelled.into_owned();
        }
        loop {
            let id = format!("call_{}", self.made);
            self.made = self.made.saturating_add(1);
            if is_free(&id, self) || self.made == u32::MAX {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ir::{Role, ToolResult, Turn};

    const RULE: IdRule =
        IdRule { max_len: 8, accepts: |byte| byte.is_ascii_alphanumeric() || byte == b'_' };

    /// Returns the ids of calls (`tool/id`) and results (`=tool/id`) after the rewrite.
    fn rewritten(history: &[&str]) -> Vec<String> {
        let block = |text: &&str| {
            let (name, id) = text.trim_start_matches('=').split_once('/').unwrap();
            let content = if text.starts_with('=') {
                let name = Some(name.to_owned());
                let (content, is_error) = (Vec::new(), false);
                Content::ToolResult(ToolResult { id: id.to_owned(), name, content, is_error })
            } else {
                let id = Some(id.to_owned()).filter(|id| !id.is_empty());
                Content::ToolCall { id, name: name.to_owned(), arguments: String::new() }
            };
            Block::new(content, "")
        };
        let blocks = history.iter().map(block).collect();
        let turns = vec![Turn { role: Role::Assistant, name: None, blocks }];
        let mut request = Request { turns, ..Request::default() };
        rewrite(&mut request, RULE);
        let id = |block: &Block| match &block.content {
            Content::ToolCall { id, .. } => id.clone().unwrap(),
            Content::ToolResult(result) => result.id.clone(),
            other => panic!("{other:?}"),
        };
        request.turns[0].blocks.iter().map(id).collect()
    }

    #[test]
    fn ids_are_spelled_and_results_keep_the_id_of_their_call() {
        assert_eq!(rewritten(&["f/x:1", "=f/x:1", "=f/x:1"]), ["x_3a1", "x_3a1", "x_3a1"]);
        assert_eq!(rewritten(&["f/123456789", "=f/123456789"]), ["call_0", "call_0"]);
    }

    #[test]
    fn calls_without_ids_are_paired_by_tool_and_order() {
        let ids = rewritten(&["f/", "g/", "g/", "=g/", "=f/", "=/"]);
        assert_eq!(ids, ["call_0", "call_1", "call_2", "call_1", "call_0", "call_2"]);
    }

    #[test]
    fn repeated_ids_become_unique() {
        let ids =
            rewritten(&["f/call_0", "=f/call_0", "f/call_0", "g/call_0", "=f/call_0", "=g/call_0"]);
        assert_eq!(ids, ["call_0", "call_0", "call_1", "call_2", "call_1", "call_2"]);
    }
}
