//! A deadline that moves often and rings seldom.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, Sleep};

/// Rings when a moment has passed without the deadline being moved on. A timer is made at the first
/// wait and touched only when it must ring earlier, has rung too early or must wake another task, so
/// that moving the deadline costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
    /// Whom the timer wakes.
    wakes: Option<Waker>,
}

impl Alarm {
    /// Ready once `due` has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        let earlier = timer.deadline() > due;
        if earlier {
            timer.as_mut().reset(due);
        }
        let known = self.wakes.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if known && !earlier && !timer.is_elapsed() {
            return Poll::Pending;
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        if !known {
            self.wakes = Some(cx.waker().clone());
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
    async fn rings_at_the_deadline_as_last_moved() {
        let (mut alarm, start) = (Alarm::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        poll_fn(|cx| {
            assert!(alarm.poll(cx, after(5)).is_pending());
            assert!(alarm.poll(cx, after(20)).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|cx| alarm.poll(cx, after(20))).await;
        assert_eq!(Instant::now(), after(20));
        poll_fn(|cx| alarm.poll(cx, after(60))).await;
        poll_fn(|cx| {
            assert!(alarm.poll(cx, after(90)).is_pending());
            alarm.poll(cx, after(60))
        })
        .await;
        assert_eq!(Instant::now(), after(60));
    }

    #[tokio::test(start_paused = true)]
    async fn wakes_whoever_waited_last() {
        let mut alarm = Alarm::default();
        let due = Instant::now() + Duration::from_secs(5);
        let mut elsewhere = Context::from_waker(Waker::noop());
        assert!(alarm.poll(&mut elsewhere, due).is_pending());
        poll_fn(|cx| alarm.poll(cx, due)).await;
        assert_eq!(Instant::now(), due);
    }
}
