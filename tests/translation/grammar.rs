//! The grammar of events, as `wire::ir::Event` has it, held over what a decoder gives.

use std::collections::{BTreeMap, BTreeSet};

use keymux::wire::ir::{Event, Kind, Piece};

/// Says which rule the events break first. What stops short of its end keeps to the grammar as well.
pub(crate) fn check(events: &[Event]) -> Result<(), String> {
    let mut heard = Heard::default();
    for (place, event) in events.iter().enumerate() {
        heard.event(event).map_err(|broken| format!("event {place}, {event:?}: {broken}"))?;
    }
    Ok(())
}

#[derive(Default)]
struct Heard<'e> {
    started: bool,
    over: bool,
    /// How many blocks have come.
    blocks: u32,
    /// Those that are open, with their candidate.
    open: BTreeMap<u32, (u32, &'e Kind)>,
    candidates: BTreeSet<u32>,
    stopped: BTreeSet<u32>,
}

type Kept = Result<(), String>;

impl<'e> Heard<'e> {
    fn event(&mut self, event: &'e Event) -> Kept {
        must(!self.over, "nothing may follow the end or a failure")?;
        match event {
            Event::Start { .. } => {
                must(!self.started, "the answer has begun already")?;
                self.started = true;
                return Ok(());
            }
            Event::Ping => return Ok(()),
            Event::Fail(_) => {
                self.over = true;
                return Ok(());
            }
            _ => must(self.started, "the answer has not begun")?,
        }
        match event {
            Event::Open { block, candidate, kind } => self.open(*block, *candidate, kind),
            Event::Delta { block, piece } => {
                let Some((_, kind)) = self.open.get(block) else {
                    return Err(format!("block {block} is not open"));
                };
                must(fits(kind, piece), "that cannot come to a block of this kind")
            }
            Event::Close { block } => {
                must(self.open.remove(block).is_some(), "the block is not open")
            }
            Event::Stop { candidate, .. } => {
                let left = self.open.values().any(|(own, _)| own == candidate);
                must(!left, "blocks of the candidate are still open")?;
                must(self.stopped.insert(*candidate), "the candidate has stopped already")
            }
            Event::End => {
                must(self.open.is_empty(), "blocks are still open")?;
                must(!self.stopped.is_empty(), "nothing has stopped")?;
                must(self.candidates.is_subset(&self.stopped), "a candidate has not stopped")?;
                self.over = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, block: u32, candidate: u32, kind: &'e Kind) -> Kept {
        must(block == self.blocks, "blocks are numbered in the order of opening")?;
        must(!self.stopped.contains(&candidate), "the candidate has stopped already")?;
        self.blocks += 1;
        self.candidates.insert(candidate);
        self.open.insert(block, (candidate, kind));
        Ok(())
    }
}

fn fits(kind: &Kind, piece: &Piece) -> bool {
    match (kind, piece) {
        (Kind::Foreign { .. }, _)
        | (Kind::Media(_), Piece::Text(_) | Piece::Citation(_) | Piece::Logprobs(_)) => false,
        (_, Piece::Text(text)) => !text.is_empty(),
        (_, Piece::Citation(_)) => matches!(kind, Kind::Text),
        (_, Piece::Signature(_) | Piece::Logprobs(_)) => true,
    }
}

fn must(kept: bool, rule: &str) -> Kept {
    if kept { Ok(()) } else { Err(rule.to_owned()) }
}
