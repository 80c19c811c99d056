//! Whether an HTTP/2 caller takes what it asked for. A caller over HTTP/1 that reads nothing is seen by
//! its socket; over HTTP/2 it may keep the window of one stream shut, answer pings, and so hold a
//! provider's connection for as long as it likes.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task_local;
use tokio::time::Instant;

use crate::gateway::deadline::Alarm;

task_local! {
    /// Since when the answer that this task sends waits for its caller, and for nothing else.
    static UNTAKEN: Cell<Option<Instant>>;
}

/// Sends an answer whose body is [`Paced`]: to its end, or until its caller has taken nothing of it for
/// so long. Dropped, it resets its stream.
pub(crate) async fn send(answer: impl Future, patience: Duration) {
    let attended = async move {
        let (mut answer, mut alarm) = (pin!(answer), Alarm::default());
        poll_fn(|cx| {
            if answer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            match UNTAKEN.with(Cell::get) {
                Some(since) => alarm.poll(cx, since + patience),
                None => Poll::Pending,
            }
        })
        .await;
    };
    UNTAKEN.scope(Cell::new(None), attended).await;
}

/// A body that notes whether it is waited for. hyper asks for the next frame once the window has room for
/// it, so between a frame and the next question it is the caller that is waited for.
#[derive(Debug)]
pub(crate) struct Paced<B>(pub(crate) B);

impl<B: Body<Data = Bytes> + Unpin> Body for Paced<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.0).poll_frame(cx);
        // Over HTTP/1 nobody asks, and there is no such task.
        let _ = UNTAKEN.try_with(|since| since.set(frame.is_ready().then(Instant::now)));
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

    const PATIENCE: Duration = Duration::from_secs(60);
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

    fn slow() -> Paced<Slow> {
        Paced(Slow(Some("x".into()), Box::pin(sleep(LONG))))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_its_caller_does_not_take_is_given_up() {
        let (start, mut body) = (Instant::now(), slow());
        let answer = async {
            body.frame().await;
            sleep(LONG).await;
        };
        send(answer, PATIENCE).await;
        assert_eq!(start.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_waits_itself_is_never_given_up() {
        let (start, mut body) = (Instant::now(), slow());
        send(async { while body.frame().await.is_some() {} }, PATIENCE).await;
        assert_eq!(start.elapsed(), LONG);
    }
}
