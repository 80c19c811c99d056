//! Damage to what providers and callers send, by a seed: the same on every run.

use serde_json::{Map, Value, json};

/// Numbers that look random (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to `below`, which is not 0.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        usize::try_from(self.next() % below as u64).unwrap()
    }
}

/// Bytes changed, lost, doubled or cut off.
pub(crate) fn of_bytes(dice: &mut Dice, data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    if out.is_empty() {
        return out;
    }
    let at = dice.below(out.len());
    let end = (at + 1 + dice.below(40)).min(out.len());
    match dice.below(5) {
        0 => out[at] ^= 1 << dice.below(8),
        1 => drop(out.drain(at..end)),
        2 => {
            let piece = out[at..end].to_vec();
            out.splice(at..at, piece);
        }
        3 => out.truncate(at),
        _ => {
            let words: [&[u8]; 6] = [b"\"", b"{}", b"null", b"\n\n", b"\xff", b"\\u d800"];
            out.splice(at..at, words[dice.below(words.len())].iter().copied());
        }
    }
    out
}

/// A JSON text of which one value is another, one member is lost, or one element comes twice. Bytes are
/// damaged where it is no JSON.
pub(crate) fn of_json(dice: &mut Dice, data: &[u8]) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(data) else { return of_bytes(dice, data) };
    let target = dice.below(nodes(&value));
    change(dice, &mut value, &mut 0, target);
    value.to_string().into_bytes()
}

/// Lines of events, as the targets for streams take them, of which one is damaged, lost, doubled or moved.
pub(crate) fn of_lines(dice: &mut Dice, data: &[u8]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = data.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (one, other) = (dice.below(lines.len()), dice.below(lines.len()));
    match dice.below(6) {
        0 => lines.swap(one, other),
        1 => drop(lines.remove(one)),
        2 => lines.insert(other, lines[one].clone()),
        _ => {
            let tab = lines[one].iter().position(|byte| *byte == b'\t').map_or(0, |at| at + 1);
            let damaged = of_json(dice, &lines[one][tab..]);
            lines[one].truncate(tab);
            lines[one].extend(damaged);
        }
    }
    lines.join(&b'\n')
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(nodes).sum(),
        Value::Object(members) => members.values().map(nodes).sum(),
        _ => 0,
    }
}

/// Changes the value that has this number, counting from the outside.
fn change(dice: &mut Dice, value: &mut Value, seen: &mut usize, target: usize) {
    if *seen == target {
        return replace(dice, value);
    }
    *seen += 1;
    match value {
        Value::Array(list) => list.iter_mut().for_each(|value| change(dice, value, seen, target)),
        Value::Object(members) => {
            members.values_mut().for_each(|value| change(dice, value, seen, target));
        }
        _ => {}
    }
}

fn replace(dice: &mut Dice, value: &mut Value) {
    match value {
        Value::Array(list) if !list.is_empty() && dice.below(2) == 0 => {
            let at = dice.below(list.len());
            if dice.below(2) == 0 {
                list.remove(at);
            } else {
                list.push(list[at].clone());
            }
        }
        Value::Object(members) if !members.is_empty() && dice.below(2) == 0 => {
            let name = members.keys().nth(dice.below(members.len())).unwrap().clone();
            members.shift_remove(&name);
        }
        other => {
            let mut own = Map::new();
            own.insert("type".to_owned(), Value::from("text"));
            let odd = [
                Value::Null,
                json!(true),
                json!(-1),
                json!(u64::MAX),
                json!(1e300),
                json!(0.5),
                json!(""),
                json!("\u{0}\u{1f600}"),
                json!([]),
                json!([null, 1, "x", {}]),
                json!({}),
                Value::Object(own),
                json!(other.to_string()),
                json!([other]),
            ];
            *other = odd[dice.below(odd.len())].clone();
        }
    }
}
