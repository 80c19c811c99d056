//! The laws of translation, over recorded answers and our own: what holds of every format that a provider
//! answers in, for every format that a caller reads.
//!
//! `KEYMUX_LONG=1` tries more cuts and more damage.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stderr, reason = "says what was skipped and how much was read")]

#[path = "translation/asked.rs"]
mod asked;
#[path = "translation/cases.rs"]
mod cases;
#[path = "wire_recorded/exchanges.rs"]
mod exchanges;
#[path = "translation/grammar.rs"]
mod grammar;
#[path = "translation/seen.rs"]
mod seen;

use asked::asked;
use cases::{Answer, CALLERS, answers, events, frames, requests, shown, streams, tell, told, way};
use seen::{Said, Seen, left, seen};

use keymux::wire::api::{Format, Framing};
use keymux::wire::format::quirks::PLAIN;
use keymux::wire::inspect::usage::Usage;
use keymux::wire::ir::{Event, Response};
use keymux::wire::translate::{
    Decoder, decode_request, decode_whole, encode_request, encode_whole,
};

fn is_long() -> bool {
    std::env::var_os("KEYMUX_LONG").is_some_and(|value| value == "1")
}

/// What a caller gets of a stream whose bytes come in pieces of these sizes, in turn.
fn passed_on(answer: &Answer, caller: (Format, Framing), sizes: &[usize]) -> Vec<u8> {
    let (mut way, mut out) = (way(answer, caller), Vec::new());
    let (mut rest, mut sizes) = (answer.body.as_slice(), sizes.iter().cycle());
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        way.push(chunk, &mut out);
        rest = behind;
    }
    way.end(&mut out);
    out
}

/// What a caller reads with the decoder of its own format.
fn read(caller: Format, framing: Framing, bytes: &[u8]) -> Vec<Event> {
    events(caller, &PLAIN, &frames(caller, framing, bytes))
}

#[test]
fn split_any_chunking_gives_the_same_bytes() {
    let streams = streams();
    for answer in &streams {
        for caller in CALLERS {
            let whole = passed_on(answer, caller, &[usize::MAX]);
            assert!(!whole.is_empty(), "{} to {caller:?}", answer.id);
            for sizes in [&[1][..], &[7], &[13, 1, 1, 250, 64, 2]] {
                let pieces = passed_on(answer, caller, sizes);
                assert!(pieces == whole, "{} to {caller:?} by {sizes:?}", answer.id);
            }
        }
    }
    eprintln!("{} streams", streams.len());
}

#[test]
fn grammar_of_every_answer() {
    for answer in answers() {
        let told = told(&answer);
        grammar::check(&told).unwrap_or_else(|broken| panic!("{}: {broken}", answer.id));
        let last = told.last();
        assert!(matches!(last, Some(Event::End | Event::Fail(_))), "{}: {last:?}", answer.id);
    }
}

/// Where to cut a stream of so many frames: everywhere, or in the short form at the ends and here and there.
fn cuts(frames: usize) -> impl Iterator<Item = usize> {
    let step = if is_long() { 1 } else { frames.div_ceil(16).max(1) };
    (0..frames).filter(move |cut| *cut < 6 || cut + 6 > frames || cut % step == 0)
}

#[test]
fn grammar_of_every_prefix_and_no_end_in_one() {
    for answer in streams() {
        let kept = frames(answer.format, answer.framing, &answer.body);
        let (mut decoder, mut all, mut ends) =
            (Decoder::new(answer.format, answer.quirks), Vec::new(), Vec::new());
        for kept in &kept {
            tell(&mut decoder, kept, &mut all);
            ends.push(all.len());
        }
        let end = all.iter().position(|event| *event == Event::End).unwrap_or(all.len());
        for cut in cuts(kept.len()) {
            let mut some = all[..cut.checked_sub(1).map_or(0, |last| ends[last])].to_vec();
            let open = some.len() <= end;
            assert_eq!(some.contains(&Event::End), !open, "{}, cut at {cut}", answer.id);
            // The same prefix, as a stream that its provider ends in order.
            some = events(answer.format, answer.quirks, &kept[..cut]);
            grammar::check(&some)
                .unwrap_or_else(|broken| panic!("{}, cut at {cut}: {broken}", answer.id));
        }
    }
}

#[test]
fn a_cut_stream_has_no_end_for_its_caller_but_an_error() {
    for answer in streams() {
        let kept = frames(answer.format, answer.framing, &answer.body);
        for caller in CALLERS {
            for cut in cuts(kept.len()) {
                let (mut decoder, mut events) =
                    (Decoder::new(answer.format, answer.quirks), Vec::new());
                kept[..cut].iter().for_each(|kept| tell(&mut decoder, kept, &mut events));
                if events.iter().any(|event| matches!(event, Event::End | Event::Fail(_))) {
                    break;
                }
                let out = broken_off(caller, &events);
                let text = String::from_utf8_lossy(&out);
                let ending = ["data: [DONE]", "event: message_stop", "response.completed"];
                let found = ending.iter().find(|ending| text.contains(**ending));
                // A caller's text may hold the words of an ending.
                let own = answer.id.starts_with("own/odd");
                assert!(own || found.is_none(), "{}, cut at {cut}: {found:?}", answer.id);
                let read = read(caller.0, caller.1, &out);
                grammar::check(&read)
                    .unwrap_or_else(|broken| panic!("{}, cut at {cut}: {broken}", answer.id));
                let Some(Event::Fail(told)) = read.last() else {
                    panic!("{} to {caller:?}, cut at {cut}: {:?}", answer.id, read.last())
                };
                assert!(told.message.contains("It broke."), "{}: {told:?}", answer.id);
            }
        }
    }
}

/// What a caller gets of a stream that breaks off behind these events.
fn broken_off((caller, framing): (Format, Framing), events: &[Event]) -> Vec<u8> {
    use keymux::wire::failure::class::{Class, Failure};
    let mut encoder = keymux::wire::translate::Encoder::new(caller, shown(framing)).unwrap();
    let mut out = Vec::new();
    let told = keymux::wire::failure::ProviderError {
        failure: Failure { class: Class::Trouble, retry_after: None },
        status: None,
        kind: None,
        code: None,
        param: None,
        message: "It broke.".to_owned(),
    };
    for event in events.iter().chain([&Event::Fail(told)]) {
        encoder.event(event, &mut out);
    }
    out
}

/// What no caller of the format can see, or no answer of the kind has: with the reason.
fn skipped(caller: Format, of: &Seen) -> Option<&'static str> {
    let damaged = |said: &Said| said.calls.iter().any(|(_, arguments)| !arguments.is_object());
    if of.candidates.iter().any(damaged)
        && matches!(caller, Format::Anthropic | Format::Gemini | Format::Bedrock)
    {
        return Some("arguments are JSON in the format, and these were cut in the middle");
    }
    if of.usage.cached_input > of.usage.input
        && matches!(caller, Format::Anthropic | Format::Bedrock)
    {
        return Some(
            "the format adds cached tokens to the others, and the provider told more cached ones than all",
        );
    }
    if of.candidates.len() > 1 && !matches!(caller, Format::OpenAiChat | Format::Gemini) {
        return Some("the format has one answer, and its callers cannot ask for more");
    }
    None
}

#[test]
fn grid_every_caller_reads_what_the_provider_said() {
    let (mut compared, mut skips, mut wrong) = (0, std::collections::BTreeMap::new(), Vec::new());
    for answer in answers() {
        let told = told(&answer);
        let reply = Response::fold(&told);
        let said = seen(&reply);
        for (caller, framing) in CALLERS {
            if let Some(why) = skipped(caller, &said) {
                *skips.entry(why).or_insert(0) += 1;
                continue;
            }
            let expected = left(&said, caller);
            let mut got = Vec::new();
            if answer.framing.is_stream() {
                let streamed = passed_on(&answer, (caller, framing), &[usize::MAX]);
                let streamed = read(caller, framing, &streamed);
                if let Err(broken) = grammar::check(&streamed) {
                    wrong.push(format!("{} to {}: {broken}", answer.id, caller.name()));
                }
                got.push(("streamed", seen(&Response::fold(&streamed))));
            }
            if reply.failed.is_none() {
                let whole = encode_whole(caller, &reply, &shown(Framing::Whole)).unwrap();
                let whole = decode_whole(caller, &whole, &PLAIN);
                got.push(("whole", seen(&Response::fold(&whole))));
            }
            for (how, mut got) in got {
                if got.failed.is_some() {
                    got.usage = Usage::default();
                }
                if got != expected {
                    let (id, caller) = (&answer.id, caller.name());
                    wrong.push(format!("{id} to {caller}, {how}:\n  {got:?}\n  {expected:?}"));
                }
                compared += 1;
            }
        }
    }
    eprintln!("{compared} compared, skipped: {skips:?}");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// The model of the provider that refuses least.
fn model(provider: Format) -> &'static str {
    match provider {
        Format::OpenAiChat => "gpt-4o",
        Format::OpenAiResponses => "gpt-5",
        Format::Anthropic => "claude-sonnet-4-5",
        Format::Gemini => "gemini-2.5-flash",
        Format::Bedrock => "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        Format::Cohere => "command-a-03-2025",
        Format::Replicate => "openai/gpt-5",
    }
}

#[test]
fn grid_every_provider_is_asked_what_the_caller_asked() {
    let (mut compared, mut refusals, mut wrong) = (0, 0, Vec::new());
    for (id, caller, mut request) in requests() {
        for provider in Format::OF_CALLERS {
            model(provider).clone_into(&mut request.model);
            let encoded = match encode_request(provider, caller, &request, &PLAIN) {
                Ok(encoded) => encoded,
                Err(refused) => {
                    assert!(refused.at.starts_with('/'), "{id} to {}: {refused}", provider.name());
                    refusals += 1;
                    continue;
                }
            };
            let again = decode_request(provider, &encoded.body, &request.model, request.stream)
                .unwrap_or_else(|refused| panic!("{id} to {}: {refused}", provider.name()));
            let expected = asked(&request);
            let got = asked(&again).without_additions(encoded.forced.as_deref());
            if got != expected {
                let provider = provider.name();
                wrong.push(format!("{id} to {provider}:\n  {got:?}\n  {expected:?}"));
            }
            compared += 1;
        }
    }
    eprintln!("{compared} compared, {refusals} refused");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
