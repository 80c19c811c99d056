//! `rescue = "resume"`: events are delivered as they come, and a stream that breaks is gone on with by the
//! next attempt whose answer begins with what was delivered. It is never ended by anybody but a provider.

use super::Attempts;
use crate::gateway::relay::{Break, Read};
use crate::observe::access::End;
use crate::wire::api::{Framing, Operation};
use crate::wire::resume::{Stop, Story};

/// Whether such streams can be gone on with.
pub(super) fn is_known(operation: Operation, framing: Framing) -> bool {
    Story::of(operation, framing).is_some()
}

pub(super) async fn run(mut attempts: Attempts) {
    let Some(mut story) = Story::of(attempts.request.operation, attempts.framing()) else {
        return attempts.pass_on().await;
    };
    loop {
        let mut out = Vec::new();
        let (told, is_last) = match attempts.read().await {
            Read::Bytes(bytes, false) => (story.push(&bytes, &mut out), false),
            Read::Bytes(bytes, true) => {
                let told = story.push(&bytes, &mut out);
                (told.and_then(|()| story.end(&mut out)), true)
            }
            Read::End => (story.end(&mut out), true),
            Read::Broken(how) => {
                if !go_on(&mut attempts, &mut story, how).await {
                    return;
                }
                continue;
            }
        };
        if told.is_ok() && is_last {
            attempts.finish();
        }
        if !out.is_empty() && !attempts.say(out.into()).await {
            return;
        }
        let why = match told {
            Ok(()) if is_last => return,
            Ok(()) => continue,
            Err(Stop::Differs) => {
                let why = "the provider's stream broke off, and another answer is not the same";
                let how = Break { end: End::Cut, why, stalled: false };
                return attempts.break_off(how, story.cut(why, CODE)).await;
            }
            Err(Stop::Garbled) => "the provider's stream cannot be read",
            // The caller's own fault has the same end everywhere.
            Err(Stop::Failed(event)) if !attempts.is_failed() => {
                attempts.record.end = End::Cut;
                attempts.say(event.into()).await;
                return;
            }
            Err(Stop::Failed(_)) => "the provider's stream told an error",
        };
        let how = Break { end: End::Cut, why, stalled: false };
        if !go_on(&mut attempts, &mut story, how).await {
            return;
        }
    }
}

const CODE: &str = "upstream_error";

/// The next attempt. `false`: the stream was ended with an error.
async fn go_on(attempts: &mut Attempts, story: &mut Story, how: Break) -> bool {
    let next = if story.can_go_on() { attempts.next(how).await } else { Err(how) };
    match next {
        Ok(()) => {
            story.again();
            true
        }
        Err(how) => {
            attempts.break_off(how, story.cut(how.why, CODE)).await;
            false
        }
    }
}
