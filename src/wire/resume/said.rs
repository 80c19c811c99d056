//! What was said, and whether it is said again.

use std::collections::{BTreeMap, BTreeSet};

use super::leaves::Leaf;

/// Most that is remembered of a stream; an answer of 100,000 tokens has as much.
const MOST: usize = 512 * 1024;

/// What was said by each choice or candidate.
#[derive(Debug, Default)]
pub(super) struct Said {
    groups: BTreeMap<u64, Group>,
    size: usize,
}

/// What one of them said, in order. They come side by side, so only within each is there an order.
#[derive(Debug, Default)]
struct Group {
    runs: Vec<Run>,
    marks: BTreeSet<String>,
    /// Up to where it was said again: a run, and a place in its text.
    at: (usize, usize),
}

/// A text, and the place where it stands.
#[derive(Debug)]
struct Run {
    place: String,
    text: String,
}

/// What became of something said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// There was nothing.
    Nothing,
    /// It was said before.
    Old,
    /// It was not.
    New,
    /// Its beginning was; the rest is left.
    Part,
    /// Something else was said before.
    Other,
}

impl Taken {
    /// What becomes of an event with both in it.
    pub(super) fn and(self, other: Taken) -> Taken {
        match (self, other) {
            (Taken::Other, _) | (_, Taken::Other) => Taken::Other,
            (Taken::Nothing, one) | (one, Taken::Nothing) => one,
            (Taken::Old, Taken::Old) => Taken::Old,
            (Taken::New, Taken::New) => Taken::New,
            _ => Taken::Part,
        }
    }
}

impl Said {
    /// Takes what an event says at one place. Of a text that was said in part the rest is left in it.
    pub(super) fn take(&mut self, group: u64, leaf: Leaf<'_>) -> Taken {
        if self.is_too_long() {
            return Taken::New;
        }
        let group = self.groups.entry(group).or_default();
        let (taken, more) = match leaf {
            Leaf::Text(place, text) => {
                let taken = group.text(place, text);
                let is_new = matches!(taken, Taken::New | Taken::Part);
                (taken, if is_new { text.len() } else { 0 })
            }
            Leaf::Token(place, mut token) => {
                // So that no token is the beginning of another.
                token.push('\n');
                let length = place.len() + token.len();
                match group.text(place, &mut token) {
                    Taken::Part => (Taken::Other, 0),
                    Taken::New => (Taken::New, length),
                    known => (known, 0),
                }
            }
            Leaf::Mark(mark) if group.marks.contains(&mark) => (Taken::Old, 0),
            Leaf::Mark(_) if !group.is_caught_up() => (Taken::Other, 0),
            Leaf::Mark(mark) => {
                let length = mark.len();
                group.marks.insert(mark);
                (Taken::New, length)
            }
        };
        self.size += more;
        if self.is_too_long() {
            self.groups = BTreeMap::new();
        }
        taken
    }

    /// Another stream begins to say it.
    pub(super) fn again(&mut self) {
        for group in self.groups.values_mut() {
            group.at = (0, 0);
        }
    }

    /// Whether all was said again.
    pub(super) fn is_caught_up(&self) -> bool {
        self.groups.values().all(Group::is_caught_up)
    }

    pub(super) fn is_too_long(&self) -> bool {
        self.size > MOST
    }
}

impl Group {
    fn is_caught_up(&self) -> bool {
        let (run, at) = self.at;
        run >= self.runs.len() || (run + 1 == self.runs.len() && at == self.runs[run].text.len())
    }

    fn text(&mut self, place: String, text: &mut String) -> Taken {
        if text.is_empty() {
            return Taken::Nothing;
        }
        let mut old = 0;
        while let Some(run) = self.runs.get(self.at.0) {
            let ahead = &run.text.as_bytes()[self.at.1..];
            if ahead.is_empty() {
                self.at = (self.at.0 + 1, 0);
                continue;
            }
            let again = &text.as_bytes()[old..];
            if again.is_empty() {
                text.clear();
                return Taken::Old;
            }
            let length = ahead.len().min(again.len());
            if run.place != place || ahead[..length] != again[..length] {
                return Taken::Other;
            }
            old += length;
            self.at.1 += length;
        }
        let taken = match old {
            0 => Taken::New,
            all if all == text.len() => Taken::Old,
            _ => Taken::Part,
        };
        text.drain(..old);
        match self.runs.last_mut() {
            _ if text.is_empty() => {}
            Some(run) if run.place == place => run.text.push_str(text),
            _ => self.runs.push(Run { place, text: text.clone() }),
        }
        self.at = (self.runs.len(), 0);
        taken
    }
}
