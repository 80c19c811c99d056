//! Turns in the order that a target accepts: roles alternate, the user begins, the results of calls come
//! before anything else in their turn, and nothing is blank.

use std::mem::{replace, take};

use super::Fitting;
use crate::wire::feature::Feature;
use crate::wire::ir::{Block, Content, Request, Role, Turn};
use crate::wire::json::fields::Rejected;

/// What a target demands of turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnRules {
    /// Where instructions within the conversation go.
    pub(crate) system: SystemTurns,
    /// Returns true for a text that the target refuses.
    pub(crate) is_blank: fn(&str) -> bool,
    /// The user's text that is put before a conversation which the assistant begins; `None`: the target
    /// accepts such a conversation.
    pub(crate) opening: Option<&'static str>,
}

/// Where instructions within the conversation go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SystemTurns {
    /// They stay as they are.
    Keep,
    /// They become text of the user at their place.
    AsUser,
    /// They move to the end of the request's instructions.
    ToInstructions,
}

/// Returns true for a text of white space alone: the rule of Anthropic and Bedrock.
pub(crate) fn is_white_space(text: &str) -> bool {
    text.trim().is_empty()
}

/// Brings the turns into the order that the target accepts. Run it after the parts that remove blocks, which
/// may leave a turn empty.
///
/// # Errors
///
/// When the target does not support instructions within the conversation.
pub(crate) fn arrange(
    request: &mut Request,
    rules: &TurnRules,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    remove_blank(&mut request.system, rules, fitting);
    let mut turns: Vec<Turn> = Vec::with_capacity(request.turns.len());
    for mut turn in take(&mut request.turns) {
        remove_blank(&mut turn.blocks, rules, fitting);
        let Some(first) = turn.blocks.first() else { continue };
        if turn.name.is_some() && !fitting.keep(Feature::ParticipantName, &first.at)? {
            turn.name = None;
        }
        if turn.role == Role::System {
            fitting.keep(Feature::SystemTurn, &first.at)?;
            match rules.system {
                SystemTurns::Keep => {}
                SystemTurns::AsUser => turn.role = Role::User,
                SystemTurns::ToInstructions => {
                    request.system.append(&mut turn.blocks);
                    continue;
                }
            }
        }
        match turns.last_mut() {
            Some(last) if last.role == turn.role && last.name == turn.name => {
                last.blocks.append(&mut turn.blocks);
            }
            _ => turns.push(turn),
        }
    }
    for turn in &mut turns {
        // A stable sort.
        turn.blocks.sort_by_key(|block| !matches!(block.content, Content::ToolResult(_)));
    }
    if let Some(text) = rules.opening
        && turns.first().is_some_and(|first| first.role == Role::Assistant)
    {
        turns.insert(0, user_turn(vec![Block::new(Content::text(text), "")]));
    }
    request.turns = turns;
    Ok(())
}

/// Moves the instructions into a turn of the user if the conversation is empty: most targets refuse a request
/// without a turn.
pub(crate) fn use_instructions_as_conversation(request: &mut Request) {
    if request.turns.is_empty() && !request.system.is_empty() {
        request.turns.push(user_turn(take(&mut request.system)));
    }
}

/// Returns the last block of a conversation that the assistant is to continue.
pub(crate) fn prefill(request: &Request) -> Option<&Block> {
    let last = request.turns.last().filter(|turn| turn.role == Role::Assistant)?;
    last.blocks.last()
}

fn user_turn(blocks: Vec<Block>) -> Turn {
    Turn { role: Role::User, name: None, blocks }
}

/// Removes blank texts, also from the results of calls. The cache point of a removed block moves to the block
/// before it. A block with a signature of the target stays, because the target wants the signature back.
fn remove_blank(blocks: &mut Vec<Block>, rules: &TurnRules, fitting: &Fitting) {
    let capacity = blocks.len();
    for mut block in replace(blocks, Vec::with_capacity(capacity)) {
        let is_blank = match &mut block.content {
            Content::Text { text, .. } | Content::Refusal(text) => (rules.is_blank)(text),
            Content::ToolResult(result) => {
                remove_blank(&mut result.content, rules, fitting);
                false
            }
            _ => false,
        };
        let is_signed = block.signature.as_ref().is_some_and(|own| own.format == fitting.target());
        if !is_blank || is_signed {
            blocks.push(block);
        } else if let (Some(last), Some(cache)) = (blocks.last_mut(), block.cache) {
            last.cache.get_or_insert(cache);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api::Format;
    use crate::wire::ir::{Cache, ToolResult};

    const RULES: TurnRules =
        TurnRules { system: SystemTurns::AsUser, is_blank: is_white_space, opening: Some(".") };

    fn turn(role: Role, contents: Vec<Content>) -> Turn {
        let blocks = contents.into_iter().map(|content| Block::new(content, "/at")).collect();
        Turn { role, name: None, blocks }
    }

    fn text(text: &str) -> Content {
        Content::text(text)
    }

    fn result(id: &str) -> Content {
        let content = vec![Block::new(text(" "), ""), Block::new(text("21"), "")];
        Content::ToolResult(ToolResult { id: id.to_owned(), name: None, content, is_error: false })
    }

    fn arranged(rules: &TurnRules, turns: Vec<Turn>) -> Request {
        let mut request = Request { turns, ..Request::default() };
        let mut fitting = Fitting::new(Format::Anthropic, Format::OpenAiChat);
        arrange(&mut request, rules, &mut fitting).unwrap();
        request
    }

    #[test]
    fn turns_of_one_role_become_one_with_results_first() {
        let request = arranged(
            &RULES,
            vec![
                turn(Role::User, vec![text("a"), text("\n")]),
                turn(Role::Assistant, vec![text(" ")]),
                turn(Role::System, vec![text("b")]),
                turn(Role::User, vec![result("1")]),
            ],
        );
        let [only] = &request.turns[..] else { panic!("{:?}", request.turns) };
        assert_eq!(only.role, Role::User);
        let contents: Vec<_> = only.blocks.iter().map(|block| &block.content).collect();
        let Content::ToolResult(first) = contents[0] else { panic!("{contents:?}") };
        assert_eq!(first.content.len(), 1);
        assert_eq!(contents[1..], [&text("a"), &text("b")]);
    }

    #[test]
    fn the_user_begins_where_the_target_demands_it() {
        let turns = || vec![turn(Role::Assistant, vec![text("a")])];
        let request = arranged(&RULES, turns());
        assert_eq!(request.turns[0].blocks[0].content, text("."));
        assert_eq!(prefill(&request).map(|block| &block.content), Some(&text("a")));
        assert_eq!(arranged(&TurnRules { opening: None, ..RULES }, turns()).turns.len(), 1);
    }

    #[test]
    fn instructions_move_to_where_the_target_has_them() {
        let turns = || vec![turn(Role::System, vec![text("be brief")])];
        let kept = arranged(&TurnRules { system: SystemTurns::Keep, ..RULES }, turns());
        assert_eq!(kept.turns[0].role, Role::System);
        let rules = TurnRules { system: SystemTurns::ToInstructions, ..RULES };
        let mut moved = arranged(&rules, turns());
        assert_eq!((moved.system.len(), moved.turns.len()), (1, 0));
        use_instructions_as_conversation(&mut moved);
        assert_eq!((moved.system.len(), moved.turns[0].role), (0, Role::User));
    }

    #[test]
    fn the_cache_point_of_a_blank_text_moves_to_the_block_before_it() {
        let mut blank = Block::new(text(" "), "");
        blank.cache = Some(Cache::default());
        let blocks = vec![Block::new(text("a"), ""), blank];
        let request = arranged(&RULES, vec![Turn { role: Role::User, name: None, blocks }]);
        assert_eq!(request.turns[0].blocks.len(), 1);
        assert!(request.turns[0].blocks[0].cache.is_some());
    }
}
