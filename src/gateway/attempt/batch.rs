//! An attempt for embeddings or for a count, at a provider that has them in a form of its own: sent in as
//! many requests as it takes, with one key, and answered at once. The first that fails fails the attempt.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use tokio::time::Instant;

use super::foreign::{Asks, WHOLE, Written, content_type, read, unreadable};
use super::{Answered, Call, Fallen, Limits, Part, begun};
use crate::route::Target;
use crate::wire::listen::Framing;
use crate::wire::{counting, embeddings};

/// How many of the requests are under way at a time.
const ABREAST: usize = 8;
/// How long all answers together may be: OpenAI's 2048 texts, with 3072 numbers each.
const ALL: usize = 256 * 1024 * 1024;

/// What a provider says to one request.
enum Said {
    Vectors(embeddings::Part),
    Count(u64),
}

pub(super) async fn once(
    call: &Call<'_>,
    hop: Target<'_>,
    key: usize,
    limits: Limits,
    written: &Written,
    id: &str,
) -> Result<Answered, Fallen> {
    let provider = &*call.gateway.config.providers[hop.provider].name;
    let most = (ALL / written.parts().max(1)).min(WHOLE);
    let patience = limits.first_byte - limits.began;
    let ask = async |at: usize| {
        let began = Instant::now();
        let first_byte = (began + patience).min(limits.total);
        let limits = Limits { began, first_byte, ..limits };
        let part = Some(Part { written, at });
        let mut answered = begun(call, hop, key, limits, part, id).await?;
        let body = read(answered.response.body_mut(), limits, most).await;
        let body =
            body.map_err(|broken| Fallen::unanswered(provider.to_owned(), broken, limits))?;
        answered.listener.hear(&body);
        let counted = answered.listener.usage().input;
        let said = heard(written.asks(), at, &body, counted).ok_or_else(|| unreadable(provider))?;
        // The caller gets the head of the first.
        Ok(((at == 0).then_some(answered), said))
    };
    let all = in_order((0..written.parts()).map(ask)).await?;
    let (mut heads, mut vectors, mut tokens) = (Vec::new(), Vec::new(), 0);
    for (head, said) in all {
        heads.extend(head);
        match said {
            Said::Vectors(part) => vectors.push(part),
            Said::Count(count) => tokens = count,
        }
    }
    let Some(mut answered) = heads.pop() else { return Err(unreadable(provider)) };
    let body = match written.asks() {
        Asks::Count(_) => counting::answer(written.caller(), tokens),
        Asks::Conversation(_) | Asks::Embeddings { .. } => {
            embeddings::write(call.asked_for, &vectors)
        }
    };
    content_type(&mut answered.response, Framing::Whole);
    Ok(answered.rewritten(written.caller(), Framing::Whole, Bytes::from(body)))
}

/// What the request at this place is answered; `None`: it is no answer to it.
fn heard(asks: &Asks, at: usize, body: &[u8], tokens: Option<u64>) -> Option<Said> {
    match asks {
        Asks::Embeddings { format, encoding, texts } => {
            let part = format.read(body, tokens, *encoding)?;
            (Some(&part.count()) == texts.get(at)).then_some(Said::Vectors(part))
        }
        Asks::Count(counter) => counter.read(body).map(Said::Count),
        Asks::Conversation(_) => None,
    }
}

/// What all futures come to, in their order, with a few of them under way at a time; or the first failure,
/// with which the others are dropped.
async fn in_order<T, E, F>(mut futures: impl Iterator<Item = F>) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut done: Vec<Option<T>> = Vec::new();
    let mut running: Vec<(usize, Pin<Box<F>>)> = Vec::with_capacity(ABREAST);
    poll_fn(|cx| {
        loop {
            while running.len() < ABREAST {
                let Some(next) = futures.next() else { break };
                running.push((done.len(), Box::pin(next)));
                done.push(None);
            }
            if running.is_empty() {
                return Poll::Ready(Ok(done.drain(..).flatten().collect()));
            }
            let before = running.len();
            let mut at = 0;
            while at < running.len() {
                match running[at].1.as_mut().poll(cx) {
                    Poll::Pending => at += 1,
                    Poll::Ready(Ok(value)) => done[running.swap_remove(at).0] = Some(value),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                }
            }
            if running.len() == before {
                return Poll::Pending;
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_run_at_a_time_and_all_come_back_in_order() {
        let (running, most) = (Cell::new(0), Cell::new(0));
        let began = Instant::now();
        let one = async |n: u64| {
            running.set(running.get() + 1);
            most.set(most.get().max(running.get()));
            // The earlier, the longer.
            sleep(Duration::from_millis(100 - n)).await;
            running.set(running.get() - 1);
            Ok::<_, ()>(n)
        };
        let all = in_order((0..20).map(one)).await.unwrap();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
        assert_eq!(most.get(), ABREAST);
        assert!(began.elapsed() <= Duration::from_millis(300), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_failure_ends_all() {
        let begun = Cell::new(0);
        let one = async |n: u64| {
            begun.set(begun.get() + 1);
            sleep(Duration::from_millis(10)).await;
            if n == 3 { Err(n) } else { Ok(n) }
        };
        assert_eq!(in_order((0..100).map(one)).await, Err(3));
        assert!(begun.get() < 20, "{}", begun.get());
    }
}
