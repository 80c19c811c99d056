//! One request's panic is that request's end and nobody else's.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// What is left of work that panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mistake in this program")
    }
}

impl Error for Panicked {}

/// Says in the log where a panic came from. Its words are told when they are a literal of the source;
/// what was formatted may hold a caller's text, or a secret.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let words = panic.payload().downcast_ref::<&'static str>().copied();
        let location = panic.location().map(ToString::to_string);
        tracing::error!(
            location = location.as_deref().unwrap_or("unknown"),
            "panic: {}",
            words.unwrap_or("(its words are left out)")
        );
    }));
}

/// Polls a future that must not be polled again once this is [`Panicked`].
pub(crate) fn poll<F: Future>(
    future: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<Result<F::Output, Panicked>> {
    // The future is dropped behind a panic; what it shares with others is behind locks and atomics.
    match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(payload) => {
            forget(payload);
            Poll::Ready(Err(Panicked))
        }
    }
}

/// A body that breaks off when it panics.
#[derive(Debug)]
pub(crate) struct Contained<B>(Option<B>);

impl<B> Contained<B> {
    pub(crate) fn new(body: B) -> Self {
        Self(Some(body))
    }
}

impl<B> Body for Contained<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let body = pin!(body);
        match catch_unwind(AssertUnwindSafe(|| body.poll_frame(cx))) {
            Ok(polled) => polled.map(|next| next.map(|frame| frame.map_err(Into::into))),
            Err(payload) => {
                forget(payload);
                let broken = self.0.take();
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(broken))) {
                    forget(payload);
                }
                Poll::Ready(Some(Err(Panicked.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// A payload may panic when it is dropped (<https://github.com/rust-lang/rust/issues/86027>).
fn forget(payload: Box<dyn std::any::Any + Send>) {
    if !payload.is::<&'static str>() && !payload.is::<String>() {
        std::mem::forget(payload);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "that is what is contained")]

    use std::future::poll_fn;
    use std::sync::Arc;

    use http_body_util::BodyExt;

    use super::*;

    async fn outcome<F: Future>(future: F) -> Result<F::Output, Panicked> {
        let mut future = pin!(future);
        poll_fn(|cx| poll(future.as_mut(), cx)).await
    }

    /// Panics once more when it is dropped.
    struct Rude;

    impl Drop for Rude {
        fn drop(&mut self) {
            panic!("again");
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_outcome() {
        assert_eq!(outcome(async { 7 }).await, Ok(7));
        let late = async {
            tokio::task::yield_now().await;
            panic!("with {} words", 2)
        };
        assert_eq!(outcome::<_>(late).await, Err::<(), _>(Panicked));
        let rude = async { std::panic::panic_any(Rude) };
        assert_eq!(outcome::<_>(rude).await, Err::<(), _>(Panicked));
    }

    /// Panics at its second frame.
    struct Faulty(bool, #[expect(dead_code, reason = "counted when it is dropped")] Arc<()>);

    impl Body for Faulty {
        type Data = Bytes;
        type Error = Panicked;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Panicked>>> {
            assert!(!self.0, "once");
            self.0 = true;
            Poll::Ready(Some(Ok(Frame::data("x".into()))))
        }
    }

    #[tokio::test]
    async fn a_body_that_panics_breaks_off_and_lets_go_of_what_it_held() {
        let held = Arc::new(());
        let mut body = Contained::new(Faulty(false, held.clone()));
        assert!(body.frame().await.unwrap().is_ok());
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(body.frame().await.is_none());
    }
}
