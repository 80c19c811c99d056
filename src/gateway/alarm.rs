//! A deadline that moves often and rings seldom.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

/// Rings when a moment has passed without the deadline being moved on. A timer is made at the first
/// wait and touched only when it must ring earlier or has rung too early, so that moving the deadline
/// costs nothing.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `due` has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
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
}
