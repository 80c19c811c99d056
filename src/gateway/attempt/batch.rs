//! Attempts for embeddings or a token count that the provider has in a form of its own. They take as many requests
//! as needed, all with one key. The first request that fails makes the attempt fail.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use tokio::time::Instant;

use super::context::{AttemptContext, Deadlines};
use super::failed::FailedAttempt;
use super::read::whole_body;
use super::send::{Part, send};
use super::translated::{Task, TranslatedRequest, WHOLE_BODY};
use crate::gateway::response::started::StartedResponse;
use crate::wire::api::Framing;
use crate::wire::{embeddings, token_count};

/// The most concurrent requests.
const CONCURRENCY: usize = 8;
/// The largest size of all responses together: OpenAI's 2048 texts, with 3072 numbers each.
const ALL_BODIES: usize = 256 * 1024 * 1024;

/// The result of one request.
enum PartResult {
    Vectors(embeddings::Vectors),
    Count(u64),
}

/// Sends all parts, and joins their results into one response.
pub(super) async fn send_parts(
    attempt: AttemptContext<'_>,
    request: &TranslatedRequest,
) -> Result<StartedResponse, FailedAttempt> {
    let parts = request.bodies().len();
    let limit = (ALL_BODIES / parts.max(1)).min(WHOLE_BODY);
    let results =
        in_order((0..parts).map(|index| send_part(attempt, request, index, limit))).await?;
    let (mut heads, mut vectors, mut tokens) = (Vec::new(), Vec::new(), 0);
    for (head, result) in results {
        heads.extend(head);
        match result {
            PartResult::Vectors(part) => vectors.push(part),
            PartResult::Count(count) => tokens = count,
        }
    }
    let Some(mut started) = heads.pop() else { return Err(FailedAttempt::unparsable(attempt)) };
    let body = match request.task() {
        Task::Count(_) => token_count::encode_response(request.caller_operation(), tokens),
        Task::Conversation(_) | Task::Embeddings { .. } => {
            embeddings::encode_response(attempt.call.requested_model, &vectors)
        }
    };
    started.set_content_type(Framing::Whole);
    Ok(started.with_body(request.caller_operation(), Framing::Whole, Bytes::from(body)))
}

/// Sends one part. The caller gets the head of the first.
async fn send_part(
    attempt: AttemptContext<'_>,
    request: &TranslatedRequest,
    index: usize,
    limit: usize,
) -> Result<(Option<StartedResponse>, PartResult), FailedAttempt> {
    let whole = attempt.deadlines;
    let began = Instant::now();
    let first_byte = (began + (whole.first_byte - whole.began)).min(whole.total);
    let deadlines = Deadlines { began, first_byte, ..whole };
    let attempt = AttemptContext { deadlines, ..attempt };
    let mut started = send(attempt, Some(Part { request, index })).await?;
    let body = whole_body(started.response.body_mut(), deadlines, limit).await;
    let body = body.map_err(|error| FailedAttempt::no_response(attempt, error))?;
    started.passage.observe(&body);
    let result = decode_part(request.task(), index, &body, started.passage.usage().input);
    let result = result.ok_or_else(|| FailedAttempt::unparsable(attempt))?;
    Ok(((index == 0).then_some(started), result))
}

/// Decodes the response to a part. Returns `None` if it does not match its request.
fn decode_part(task: &Task, index: usize, body: &[u8], tokens: Option<u64>) -> Option<PartResult> {
    match task {
        Task::Embeddings { format, encoding, texts } => {
            let part = format.decode_response(body, tokens, *encoding)?;
            (Some(&part.count()) == texts.get(index)).then_some(PartResult::Vectors(part))
        }
        Task::Count(counter) => counter.decode_response(body).map(PartResult::Count),
        Task::Conversation(_) => None,
    }
}

/// Runs the futures with bounded concurrency, and returns their results in their order. The first failure drops
/// all others.
async fn in_order<T, E, F>(mut futures: impl Iterator<Item = F>) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut done: Vec<Option<T>> = Vec::new();
    let mut running: Vec<(usize, Pin<Box<F>>)> = Vec::with_capacity(CONCURRENCY);
    poll_fn(|cx| {
        loop {
            while running.len() < CONCURRENCY {
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
    async fn concurrency_is_bounded_and_results_keep_their_order() {
        let (running, most) = (Cell::new(0), Cell::new(0));
        let began = Instant::now();
        let one = async |n: u64| {
            running.set(running.get() + 1);
            most.set(most.get().max(running.get()));
            // An earlier one takes longer.
            sleep(Duration::from_millis(100 - n)).await;
            running.set(running.get() - 1);
            Ok::<_, ()>(n)
        };
        let all = in_order((0..20).map(one)).await.unwrap();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
        assert_eq!(most.get(), CONCURRENCY);
        assert!(began.elapsed() <= Duration::from_millis(300), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_failure_drops_all_others() {
        let started = Cell::new(0);
        let one = async |n: u64| {
            started.set(started.get() + 1);
            sleep(Duration::from_millis(10)).await;
            if n == 3 { Err(n) } else { Ok(n) }
        };
        assert_eq!(in_order((0..100).map(one)).await, Err(3));
        assert!(started.get() < 20, "{}", started.get());
    }
}
