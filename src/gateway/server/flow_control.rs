//! Cuts HTTP/2 callers that do not take their response. Over HTTP/1 a caller that reads nothing blocks its
//! socket. Over HTTP/2 it can keep the window of one stream closed, answer pings, and so occupy a provider's
//! connection for as long as it likes.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task_local;
use tokio::time::Instant;

use crate::gateway::deadline::DeadlineTimer;

task_local! {
    /// The time since when the response that this task sends waits for its caller alone.
    static WAITING_FOR_CALLER: Cell<Option<Instant>>;
}

/// Sends a response whose body is [`FlowControlled`], until its end or until its caller has taken nothing for
/// `timeout`. Dropping the future resets the stream.
pub(super) async fn send(response: impl Future, timeout: Duration) {
    let limited = async move {
        let (mut response, mut timer) = (pin!(response), DeadlineTimer::default());
        poll_fn(|cx| {
            if response.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            match WAITING_FOR_CALLER.with(Cell::get) {
                Some(since) => timer.poll(cx, since + timeout),
                None => Poll::Pending,
            }
        })
        .await;
    };
    WAITING_FOR_CALLER.scope(Cell::new(None), limited).await;
}

/// A body that records who is waited for. hyper polls for the next frame once the window has room for it, so
/// between a frame and the next poll the caller is waited for.
#[derive(Debug)]
pub(super) struct FlowControlled<B>(pub(super) B);

impl<B: Body<Data = Bytes> + Unpin> Body for FlowControlled<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.0).poll_frame(cx);
        // Over HTTP/1 there is no such task, and nothing reads the time.
        let _ = WAITING_FOR_CALLER.try_with(|since| since.set(frame.is_ready().then(Instant::now)));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::BodyExt;
    use tokio::time::{Sleep, sleep};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);
    const LONG: Duration = Duration::from_secs(3600);

    /// One frame, and the end an hour later.
    struct Slow(Option<Bytes>, Pin<Box<Sleep>>);

    impl Body for Slow {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => self.1.as_mut().poll(cx).map(|()| None),
            }
        }
    }

    fn slow() -> FlowControlled<Slow> {
        FlowControlled(Slow(Some("x".into()), Box::pin(sleep(LONG))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_its_caller_does_not_take_is_cut() {
        let (start, mut body) = (Instant::now(), slow());
        let response = async {
            body.frame().await;
            sleep(LONG).await;
        };
        send(response, TIMEOUT).await;
        assert_eq!(start.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_waits_for_the_provider_is_never_cut() {
        let (start, mut body) = (Instant::now(), slow());
        send(async { while body.frame().await.is_some() {} }, TIMEOUT).await;
        assert_eq!(start.elapsed(), LONG);
    }
}
