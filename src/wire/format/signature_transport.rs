//! Signatures of other formats in the field that a caller's format has for its own.
//!
//! One of another format stands there as `NAME:data`, or `NAME#id:data` where the format wants an id back with
//! it. A call or a text may be signed too, for which these formats have no field; such a signature gets an
//! empty thought of its own directly behind the block, with `NAME^:data`. Clients hand thoughts back as they
//! came, because the API demands it of its own, so all of them find their way home. Base64 has none of these
//! signs in it, so one of the caller's format is never mistaken for another's.

use crate::wire::api::Wire;
use crate::wire::ir::Seal;

/// What a signature is that a caller hands back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) seal: Seal,
    /// Whether it is of the block before.
    pub(crate) of_block_before: bool,
}

/// Reads a signature that a caller of the format `own` hands back; an empty one is none.
pub(crate) fn read(own: Wire, signature: &str) -> Option<Carried> {
    let foreign = signature.split_once(':').and_then(|(sign, data)| {
        let (sign, of_block_before) = match sign.strip_suffix('^') {
            Some(sign) => (sign, true),
            None => (sign, false),
        };
        let (name, id) = match sign.split_once('#') {
            Some((name, id)) => (name, Some(id.to_owned())),
            None => (sign, None),
        };
        let seal = Seal { wire: Wire::named(name)?, data: data.to_owned(), id };
        Some(Carried { seal, of_block_before })
    });
    foreign.or_else(|| {
        let seal = Seal { wire: own, data: signature.to_owned(), id: None };
        (!signature.is_empty()).then_some(Carried { seal, of_block_before: false })
    })
}

/// Writes a signature for a caller of the format `own`.
pub(crate) fn write(own: Wire, seal: &Seal, of_block_before: bool) -> String {
    if seal.wire == own {
        return seal.data.clone();
    }
    let (hash, id) = match &seal.id {
        Some(id) => ("#", id.as_str()),
        None => ("", ""),
    };
    let above = if of_block_before { "^" } else { "" };
    format!("{}{hash}{id}{above}:{}", seal.wire.name(), seal.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_finds_its_way_home() {
        for (wire, id) in
            [(Wire::Gemini, None), (Wire::OpenAiResponses, Some("rs_1")), (Wire::Bedrock, None)]
        {
            let seal = Seal { wire, data: "Eu+/=".to_owned(), id: id.map(str::to_owned) };
            for of_block_before in [false, true] {
                let back = read(Wire::Bedrock, &write(Wire::Bedrock, &seal, of_block_before));
                let of_block_before = of_block_before && wire != Wire::Bedrock;
                assert_eq!(back, Some(Carried { seal: seal.clone(), of_block_before }));
            }
        }
        assert_eq!(read(Wire::Bedrock, ""), None);
    }
}
