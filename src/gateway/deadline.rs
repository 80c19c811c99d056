//! A timer for a deadline that moves often and expires seldom.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, Sleep};

/// Completes when a deadline has passed without being moved. The timer is created at the first wait. It is
/// touched only when it must fire earlier, has fired too early or must wake another task, so moving the
/// deadline costs nothing.
#[derive(Debug, Default)]
pub(crate) struct DeadlineTimer {
    timer: Option<Pin<Box<Sleep>>>,
    /// The task that the timer wakes.
    waker: Option<Waker>,
}

impl DeadlineTimer {
    /// Returns `Ready` once `due` has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        let earlier = timer.deadline() > due;
        if earlier {
            timer.as_mut().reset(due);
        }
        let same_task = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if same_task && !earlier && !timer.is_elapsed() {
            return Poll::Pending;
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        if !same_task {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn completes_at_the_last_deadline_set() {
        let (mut timer, start) = (DeadlineTimer::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        poll_fn(|cx| {
            assert!(timer.poll(cx, after(5)).is_pending());
            assert!(timer.poll(cx, after(20)).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|cx| timer.poll(cx, after(20))).await;
        assert_eq!(Instant::now(), after(20));
        poll_fn(|cx| timer.poll(cx, after(60))).await;
        poll_fn(|cx| {
            assert!(timer.poll(cx, after(90)).is_pending());
            timer.poll(cx, after(60))
        })
        .await;
        assert_eq!(Instant::now(), after(60));
    }

    #[tokio::test(start_paused = true)]
    async fn wakes_the_task_that_polled_last() {
        let mut timer = DeadlineTimer::default();
        let due = Instant::now() + Duration::from_secs(5);
        let mut other_task = Context::from_waker(Waker::noop());
        assert!(timer.poll(&mut other_task, due).is_pending());
        poll_fn(|cx| timer.poll(cx, due)).await;
        assert_eq!(Instant::now(), due);
    }
}
