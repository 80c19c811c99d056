//! Confines a panic to the request that caused it.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The error of a future or a body that panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bug in keymux: the code panicked")
    }
}

impl Error for Panicked {}

/// Installs a panic hook that logs the location. The message is logged only when it is a literal of the
/// source: a formatted message may contain a caller's text or a secret.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload().downcast_ref::<&'static str>().copied();
        let location = panic.location().map(ToString::to_string);
        tracing::error!(
            location = location.as_deref().unwrap_or("unknown"),
            "panic: {}",
            message.unwrap_or("(formatted message omitted)")
        );
    }));
}

/// Polls a future and catches its panic. The future must not be polled again after [`Panicked`].
pub(crate) fn poll<F: Future>(
    future: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<Result<F::Output, Panicked>> {
    // Unwind safe: the future is dropped after a panic, and it shares state with others only through locks
    // and atomics.
    match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(payload) => {
            discard(payload);
            Poll::Ready(Err(Panicked))
        }
    }
}

/// A body that ends with an error when the inner body panics.
#[derive(Debug)]
pub(crate) struct CatchPanic<B>(Option<B>);

impl<B> CatchPanic<B> {
    pub(crate) fn new(body: B) -> Self {
        Self(Some(body))
    }
}

impl<B> Body for CatchPanic<B>
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
                discard(payload);
                let panicked = self.0.take();
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(panicked))) {
                    discard(payload);
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

/// Leaks a payload that may itself panic when dropped (<https://github.com/rust-lang/rust/issues/86027>).
fn discard(payload: Box<dyn std::any::Any + Send>) {
    if !payload.is::<&'static str>() && !payload.is::<String>() {
        std::mem::forget(payload);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "the tests cause panics")]

    use std::future::poll_fn;
    use std::sync::Arc;

    use http_body_util::BodyExt;

    use super::*;

    async fn run_catching<F: Future>(future: F) -> Result<F::Output, Panicked> {
        let mut future = pin!(future);
        poll_fn(|cx| poll(future.as_mut(), cx)).await
    }

    /// Panics again when it is dropped.
    struct PanicsOnDrop;

    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            panic!("again");
        }
    }

    #[tokio::test]
    async fn a_panic_becomes_an_error() {
        assert_eq!(run_catching(async { 7 }).await, Ok(7));
        let late = async {
            tokio::task::yield_now().await;
            panic!("with {} arguments", 2)
        };
        assert_eq!(run_catching::<_>(late).await, Err::<(), _>(Panicked));
        let panics_on_drop = async { std::panic::panic_any(PanicsOnDrop) };
        assert_eq!(run_catching::<_>(panics_on_drop).await, Err::<(), _>(Panicked));
    }

    /// Panics at its second frame.
    struct PanickingBody(
        bool,
        #[expect(dead_code, reason = "its reference count shows the drop")] Arc<()>,
    );

    impl Body for PanickingBody {
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
    async fn a_panicking_body_ends_with_an_error_and_is_dropped() {
        let held = Arc::new(());
        let mut body = CatchPanic::new(PanickingBody(false, held.clone()));
        assert!(body.frame().await.unwrap().is_ok());
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(body.frame().await.is_none());
    }
}
