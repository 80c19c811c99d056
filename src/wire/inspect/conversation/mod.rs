//! Computes the conversation key of a request from the part that all requests of a conversation share: the
//! tools, the system text and the turns up to the first user turn. Providers cache prompts by this prefix,
//! so it identifies the conversation.
//!
//! The text is read as written, in one pass and without a copy.

use memchr::memmem::{self, Finder};

use crate::wire::api::Operation;
use crate::wire::json::digest::Digest;
use crate::wire::json::walk::{Part, Scanner, elements, is_named, members, value_end};

/// A prefix of this many bytes or more is long. Providers cache from 1,024 tokens on (OpenAI's and
/// Anthropic's guides to prompt caching); a token is about four bytes.
pub const LONG: usize = 4096;

/// The conversation key of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stable {
    /// A digest that is equal for all requests of the conversation.
    pub digest: u64,
    /// True if the part that a provider can cache is at least [`LONG`] bytes: the tools, the system text
    /// and the turns up to the first user turn. If these are shorter, all turns but the last count, so a
    /// growing conversation becomes long.
    pub long: bool,
    /// The digest of `prompt_cache_key`, if the request has one.
    pub cache_key: Option<u64>,
}

/// Returns true if requests for this operation are turns of a conversation.
pub fn is_conversation(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Chat
            | Operation::Responses
            | Operation::ResponsesCompact
            | Operation::Messages
            | Operation::RawPredict
            | Operation::StreamRawPredict
            | Operation::GenerateContent
            | Operation::StreamGenerateContent
            | Operation::Converse
            | Operation::ConverseStream
            | Operation::Invoke
            | Operation::InvokeStream
            | Operation::CohereChat
    )
}

/// Returns the conversation key of a request body in any API: the APIs use different member names, and no
/// name has two meanings. Returns `None` if the body has no turns.
pub fn stable(body: &[u8]) -> Option<Stable> {
    let Found { tools, system, turns, cache_key } = Found::of(body);
    let mut digest = Digest::default();
    unmarked(tools, &mut digest);
    digest = digest.end();
    unmarked(without_billing(system), &mut digest);
    digest = digest.end();

    let mut length = tools.len() + system.len();
    let mut rest = turns?;
    loop {
        let turn = Turn::take(rest, &mut digest);
        length += turn.length;
        rest = &rest[turn.length..];
        if !turn.others || turn.length == 0 {
            break;
        }
    }
    let mut all = elements(rest.trim_ascii_start());
    let mut last = None;
    while length < LONG {
        let Some(turn) = all.next() else { break };
        length += last.replace(turn.len()).unwrap_or_default();
    }
    let cache_key = cache_key.filter(|key| key.len() > 2 && key.starts_with(b"\""));
    let cache_key = cache_key.map(|key| Digest::default().text(key).finish());
    Some(Stable { digest: digest.finish(), long: length >= LONG, cache_key })
}

/// The members that enter the digest, as written; empty if absent.
#[derive(Default)]
struct Found<'b> {
    tools: &'b [u8],
    system: &'b [u8],
    turns: Option<&'b [u8]>,
    cache_key: Option<&'b [u8]>,
}

impl<'b> Found<'b> {
    fn of(body: &'b [u8]) -> Self {
        let mut found = Self::default();
        let (mut scanner, mut rest) = (Scanner::new(), body);
        let mut key: &[u8] = b"";
        while let Ok(Some(piece)) = scanner.next(&mut rest) {
            let is = |names: &[&str]| names.iter().any(|name| is_named(key, name));
            if piece.part == Part::Key {
                key = piece.bytes;
            } else if is(&["messages", "contents", "input"]) {
                found.turns = Some(piece.bytes);
            } else if is(&["tools", "toolConfig", "functions"]) {
                found.tools = piece.bytes;
            } else if is(&["system", "systemInstruction", "system_instruction", "instructions"]) {
                found.system = piece.bytes;
            } else if is(&["prompt_cache_key"]) {
                found.cache_key = Some(piece.bytes);
            }
        }
        found
    }
}

/// Removes the first block of Claude Code's system text, which differs in each request:
/// `x-anthropic-billing-header: cc_version=2.1.37.0d9; cc_entrypoint=cli; cch=fa690;`, see
/// <https://github.com/anthropics/claude-code/issues/24168>.
fn without_billing(system: &[u8]) -> &[u8] {
    const BLOCK: &[u8] = b"\"x-anthropic-billing-header:";
    // Only the block's type can precede it.
    if memmem::find(&system[..system.len().min(256)], BLOCK).is_none() {
        return system;
    }
    let Some(first) = elements(system).next() else { return system };
    let [text] = members(first, ["text"]);
    if !text.is_some_and(|text| text.starts_with(BLOCK)) {
        return system;
    }
    let behind = system.trim_ascii_start().get(1..).unwrap_or_default().trim_ascii_start();
    behind.get(first.len()..).unwrap_or_default()
}

/// Writes JSON to the digest as written, without `cache_control`: clients move that mark from request to
/// request.
fn unmarked(mut json: &[u8], digest: &mut Digest) {
    const MARK: &[u8] = b"\"cache_control\"";
    let mark = Finder::new(MARK);
    while let Some(at) = mark.find(json) {
        let (before, marked) = json.split_at(at);
        let value = marked[MARK.len()..].trim_ascii_start().strip_prefix(b":");
        let Some((value, length)) = value.and_then(|value| Some((value, value_end(value)?))) else {
            // This is a value, not a key.
            digest.write(before);
            digest.write(MARK);
            json = &marked[MARK.len()..];
            continue;
        };
        let (before, behind) = (before.trim_ascii_end(), value[length..].trim_ascii_start());
        // One of the two commas is removed with the member.
        digest.write(before.strip_suffix(b",").unwrap_or(before));
        json = behind;
        if !before.ends_with(b",") {
            json = behind.strip_prefix(b",").unwrap_or(behind).trim_ascii_start();
        }
    }
    digest.write(json);
}

/// One of the first turns, written to a digest.
struct Turn {
    /// The length up to the end of the turn, including the bytes before it.
    length: usize,
    /// True if the turn is not the user's. A turn without a role (Gemini's contents, items of the Responses
    /// API, a plain text) counts as the user's.
    others: bool,
}

impl Turn {
    /// Writes the strings of the first turn in `json` to the digest, without keys and structure: a text can
    /// be a string in one request and a list of one block in the next, because Claude Code moves its
    /// `cache_control`. `json` is the rest of a list, starting with its bracket or a comma, or a text.
    fn take(json: &[u8], digest: &mut Digest) -> Self {
        let (mut rest, mut name) = (json, &b""[..]);
        let (mut depth, mut others) = (0_usize, false);
        while let Some((byte, behind)) = rest.split_first() {
            if *byte == b'"' {
                let Some(end) = value_end(rest) else { break };
                let (string, behind) = rest.split_at(end);
                rest = behind.trim_ascii_start();
                if let Some(value) = rest.strip_prefix(b":") {
                    (name, rest) = (string, value);
                    if is_named(name, "cache_control") {
                        rest = &value[value_end(value).unwrap_or(value.len())..];
                    }
                    continue;
                }
                if depth == 1 && is_named(name, "role") {
                    others = string != b"\"user\"";
                } else if !is_named(name, "type") {
                    *digest = digest.text(&string[1..string.len() - 1]);
                }
                name = b"";
            } else {
                rest = behind;
                match byte {
                    b'{' => depth += 1,
                    b'}' => depth = depth.saturating_sub(1),
                    // End of the list.
                    b']' if depth == 0 => rest = b"",
                    _ => continue,
                }
            }
            if depth == 0 {
                break;
            }
        }
        Self { length: json.len() - rest.len(), others }
    }
}

#[cfg(test)]
mod tests;
