//! The conversation as the API takes it: the user first, then one after the other, what came of calls before
//! all else in the turn behind them, nothing empty.

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::ir::{Block, Content, Request, Role, Turn};
use crate::wire::json::fields::Rejected;
use crate::wire::json::write::{List, Object};
use crate::wire::models::claude::Model;

use super::Written;
use super::blocks::{Entry, Said, can_say_thought, is_empty};

/// What the user says in a conversation that the model opens: the API wants the first turn to be the user's,
/// and no less than this.
const NOTHING: &str = ".";

/// The conversation.
#[derive(Debug)]
pub(crate) struct Turns<'r> {
    messages: Vec<Message<'r>>,
    /// Whether the system text stands where it belongs, and not in place of a conversation.
    pub(crate) system_stands_first: bool,
}

#[derive(Debug)]
struct Message<'r> {
    by_model: bool,
    entries: Vec<Entry<'r>>,
}

/// Puts the turns in order. Instructions in mid-conversation are text of the user's, where they stand: the
/// API's own role for them is not for all models, nor for the clouds.
pub(crate) fn arrange<'r>(
    request: &'r Request,
    model: &Model,
    fitting: &mut Fitting,
) -> Result<Turns<'r>, Rejected> {
    let mut turns = Turns { messages: Vec::new(), system_stands_first: true };
    let mut ids = Ids::default();
    for turn in &request.turns {
        turns.add(turn, &mut ids, fitting)?;
    }
    for message in &mut turns.messages {
        // A stable sort.
        message.entries.sort_by_key(|entry| !matches!(entry.block.content, Content::ToolResult(_)));
    }
    turns.end_well(model, fitting)?;
    if turns.messages.is_empty() {
        let entries: Vec<_> =
            request.system.iter().filter(|block| !is_empty(block)).map(Entry::new).collect();
        if entries.is_empty() {
            return Err(Rejected::new("", "holds nothing to answer"));
        }
        turns.system_stands_first = false;
        turns.messages.push(Message { by_model: false, entries });
    }
    Ok(turns)
}

/// Whether a model with a thinking budget goes on with the conversation: not with a turn of its own, and in
/// the middle of calls only if it thought before them, and the thought is there.
pub(crate) fn may_think(request: &Request) -> bool {
    let mut rest = request.turns.as_slice();
    let mut outcomes = false;
    while let [before @ .., last] = rest {
        if last.role == Role::Assistant {
            break;
        }
        outcomes |= last.blocks.iter().any(|block| matches!(block.content, Content::ToolResult(_)));
        rest = before;
    }
    if rest.len() == request.turns.len() {
        return rest.is_empty();
    }
    let own = rest.iter().rev().take_while(|turn| turn.role == Role::Assistant);
    let first = own.last().and_then(|turn| turn.blocks.iter().find(|block| !is_empty(block)));
    !outcomes || first.is_some_and(is_own_thought)
}

fn is_own_thought(block: &Block) -> bool {
    matches!(block.content, Content::Reasoning { .. })
        && block.signature.as_ref().is_some_and(|signature| signature.format == Format::Anthropic)
}

impl<'r> Turns<'r> {
    fn add(&mut self, turn: &'r Turn, ids: &mut Ids, fitting: &mut Fitting) -> Written {
        let Some(first) = turn.blocks.first() else { return Ok(()) };
        if turn.name.is_some() {
            fitting.keep(Feature::ParticipantName, &first.at)?;
        }
        if turn.role == Role::System {
            fitting.keep(Feature::SystemTurn, &first.at)?;
        }
        let by_model = turn.role == Role::Assistant;
        for block in &turn.blocks {
            let mut entry = Entry::new(block);
            match &block.content {
                _ if is_empty(block) => continue,
                Content::Reasoning { .. } if !can_say_thought(block, fitting) => continue,
                Content::ToolCall { id, name, .. } => entry.id = ids.of_call(id.as_deref(), name),
                Content::ToolResult(outcome) => {
                    entry.id = ids.of_outcome(&outcome.id, outcome.name.as_deref());
                }
                _ => {}
            }
            match self.messages.last_mut() {
                Some(last) if last.by_model == by_model => last.entries.push(entry),
                _ => self.messages.push(Message { by_model, entries: vec![entry] }),
            }
        }
        Ok(())
    }

    /// A last turn of the model's is one that it is to go on with; newer models refuse to. White space at
    /// its end all do.
    fn end_well(&mut self, model: &Model, fitting: &mut Fitting) -> Written {
        let Some(last) = self.messages.last_mut().filter(|last| last.by_model) else {
            return Ok(());
        };
        let Some(entry) = last.entries.last_mut() else { return Ok(()) };
        fitting.keep(Feature::Prefill, &entry.block.at)?;
        if !model.prefill {
            return Err(fitting.refuse(Feature::Prefill, &entry.block.at));
        }
        entry.trimmed = true;
        if matches!(&entry.block.content, Content::Text { text, .. } if text.trim().is_empty()) {
            last.entries.pop();
            if last.entries.is_empty() {
                self.messages.pop();
            }
        }
        Ok(())
    }

    pub(crate) fn write(&self, body: &mut Object<'_>, said: &mut Said<'_>) -> Written {
        let mut list = body.list("messages");
        if self.messages.first().is_some_and(|first| first.by_model) {
            let mut opening = list.object();
            opening.raw("role", r#""user""#).put("content", NOTHING);
            opening.end();
        }
        for message in &self.messages {
            message.write(&mut list, said)?;
        }
        list.end();
        Ok(())
    }
}

impl Message<'_> {
    fn write(&self, list: &mut List<'_>, said: &mut Said<'_>) -> Written {
        let mut object = list.object();
        object.raw("role", if self.by_model { r#""assistant""# } else { r#""user""# });
        let mut content = object.list("content");
        for entry in &self.entries {
            entry.write(&mut content, said)?;
        }
        content.end();
        object.end();
        Ok(())
    }
}

/// Ids of calls: the API wants one of each, of letters, digits, `_` and `-`.
#[derive(Debug, Default)]
struct Ids {
    calls: usize,
    /// Calls of which nothing has come yet that came without an id: the one that was made, and the tool.
    open: Vec<(String, String)>,
}

impl Ids {
    fn of_call(&mut self, id: Option<&str>, name: &str) -> String {
        let number = self.calls;
        self.calls += 1;
        match id {
            Some(id) if !id.is_empty() => spelled(id),
            _ => {
                let id = format!("call_{number}");
                self.open.push((id.clone(), name.to_owned()));
                id
            }
        }
    }

    /// An outcome without an id is that of the first call of its tool, or of any, that has none yet.
    fn of_outcome(&mut self, id: &str, name: Option<&str>) -> String {
        if !id.is_empty() {
            return spelled(id);
        }
        let by_name = self.open.iter().position(|(_, tool)| Some(tool.as_str()) == name);
        match by_name.or((!self.open.is_empty()).then_some(0)) {
            Some(place) => self.open.remove(place).0,
            None => "call_0".to_owned(),
        }
    }
}

/// The id in the API's alphabet, the same of the same.
fn spelled(id: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            out.push(char::from(byte));
        } else {
            // Writing into memory cannot fail.
            let _ = write!(out, "_{byte:02x}");
        }
    }
    out
}
