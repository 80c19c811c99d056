//! Observes responses that are one JSON object. Other bodies yield no counts.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::last_value::LastValue;
use crate::wire::api::{Api, Operation, resources};
use crate::wire::inspect::token_counts::Tally;
use crate::wire::inspect::usage::LONGEST;
use crate::wire::inspect::usage::{self, Usage};
use crate::wire::json::walk::{Part, Scanner, is_named};

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""usage""#));

/// A body, and the counts from its head.
#[derive(Debug)]
pub(crate) struct Body {
    begun: bool,
    /// The counts in the head.
    head: Tally,
    counts: Counts,
}

#[derive(Debug)]
enum Counts {
    /// The body contains no counts.
    Nothing,
    /// The counts of OpenAI and compatible providers.
    Last(LastValue),
    /// The counts of APIs whose responses contain other members with the same name: the counts of a
    /// guardrail, the arguments of a tool call.
    Member(Api, Member),
}

impl Body {
    pub(crate) fn new(operation: Operation) -> Self {
        let counts = match operation.api() {
            // A stored object was counted when it was created.
            _ if resources::path(operation).is_some() => Counts::Nothing,
            Api::OpenAi => Counts::Last(LastValue::of(&USAGE)),
            api => Counts::Member(api, Member::new(names(api))),
        };
        Self { begun: false, head: Tally::default(), counts }
    }

    pub(crate) fn read_head<'h>(&mut self, header: &dyn Fn(&str) -> Option<&'h str>) {
        self.head.of_bedrock_head(header);
    }

    pub(crate) fn observe(&mut self, bytes: &[u8]) {
        self.begun |= !bytes.is_empty();
        match &mut self.counts {
            Counts::Nothing => {}
            Counts::Last(last) => last.observe(bytes),
            Counts::Member(_, member) => member.observe(bytes),
        }
    }

    pub(crate) fn begun(&self) -> bool {
        self.begun
    }

    pub(crate) fn usage(&self) -> Usage {
        let (api, member) = match &self.counts {
            Counts::Nothing => return Usage::default(),
            Counts::Last(last) => return usage::read(last.object()),
            Counts::Member(api, member) => (*api, member),
        };
        let (mut tally, object) = (self.head, Some(&*member.value));
        match api {
            Api::Anthropic => tally.of_anthropic(object),
            Api::Gemini => tally.of_gemini(object),
            Api::Cohere => tally.of_cohere(object),
            Api::Replicate => tally.of_replicate(object),
            Api::Bedrock if tally.usage() == Usage::default() => {
                // Nova counts as Bedrock does, Claude as Anthropic does, other models as OpenAI does.
                tally.of_bedrock(object);
                tally.of_anthropic(object);
                if tally.usage() == Usage::default() {
                    return usage::read(&member.value);
                }
            }
            // OpenAI's counts were read above; Bedrock's own invocation counts are the same for all
            // vendors.
            Api::OpenAi | Api::Bedrock => {}
        }
        tally.usage()
    }
}

/// Returns the names of the members that contain the counts.
fn names(api: Api) -> &'static [&'static str] {
    match api {
        Api::OpenAi | Api::Anthropic | Api::Bedrock => &["usage"],
        Api::Gemini => &["usageMetadata"],
        Api::Cohere => &["usage", "meta"],
        Api::Replicate => &["metrics"],
    }
}

/// Captures the last value of a member with one of these names, in an object that arrives in chunks.
#[derive(Debug)]
struct Member {
    names: &'static [&'static str],
    /// `None`: the text is not an object, or the object has ended.
    scanner: Option<Scanner>,
    /// The key that is being read.
    key: Vec<u8>,
    caught: bool,
    value: Vec<u8>,
}

impl Member {
    fn new(names: &'static [&'static str]) -> Self {
        Self {
            names,
            scanner: Some(Scanner::new()),
            key: Vec::new(),
            caught: false,
            value: Vec::new(),
        }
    }

    fn observe(&mut self, bytes: &[u8]) {
        let Some(mut scanner) = self.scanner.take() else { return };
        let mut rest = bytes;
        while let Ok(next) = scanner.next(&mut rest) {
            match next {
                Some(piece) if piece.part == Part::Key => {
                    keep(&mut self.key, piece.bytes);
                    if piece.ends {
                        self.caught = self.names.iter().any(|name| is_named(&self.key, name));
                        self.key.clear();
                        if self.caught {
                            self.value.clear();
                        }
                    }
                }
                Some(piece) if self.caught => keep(&mut self.value, piece.bytes),
                Some(_) => {}
                None => {
                    if !scanner.ended() {
                        self.scanner = Some(scanner);
                    }
                    return;
                }
            }
        }
    }
}

fn keep(into: &mut Vec<u8>, piece: &[u8]) {
    let room = LONGEST - into.len();
    into.extend_from_slice(&piece[..piece.len().min(room)]);
}
