//! Keep-alives for the caller of a held stream, so that no timeout between here and there expires.
//!
//! Server-sent events have comments, which every client ignores. Older clients of Gemini take a comment for an
//! event that they cannot parse, so there, as in an array, it is an empty line. Frames of AWS have no neutral
//! bytes: their callers get nothing until the stream is complete.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;
use tokio::time::{Interval, interval};

use super::Chunk;
use crate::wire::api::{Api, Framing, Operation};

/// Proxies and load balancers give up after 30 to 60 seconds of silence.
const INTERVAL: Duration = Duration::from_secs(10);

pub(super) struct KeepAlive {
    interval: Interval,
    bytes: Bytes,
    sender: Sender<Chunk>,
    /// Bytes sent that are not counted yet.
    sent: u64,
}

impl KeepAlive {
    pub(super) fn new(operation: Operation, framing: Framing, sender: Sender<Chunk>) -> Self {
        let bytes: &[u8] = match (framing, operation.api()) {
            (Framing::Whole | Framing::Aws, _) => b"",
            (Framing::Array, _) | (Framing::Events, Api::Gemini) => b"\n",
            (Framing::Events, _) => b": keymux\n\n",
        };
        Self { interval: interval(INTERVAL), bytes: Bytes::from_static(bytes), sender, sent: 0 }
    }

    /// Runs `work`, and sends a keep-alive at once and every [`INTERVAL`] until it is done. One that the caller
    /// does not take is skipped.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = self.interval.tick(), if !self.bytes.is_empty() => {
                    if self.sender.try_send(Ok(self.bytes.clone())).is_ok() {
                        self.sent += self.bytes.len() as u64;
                    }
                }
            }
        }
    }

    /// Returns the number of bytes sent since the last call.
    pub(super) fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::channel;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Returns the seconds at which keep-alives were sent, to a caller that takes them at once or not at all.
    async fn sent_at(
        framing: Framing,
        operation: Operation,
        seconds: u64,
        is_taken: bool,
    ) -> Vec<u64> {
        let (sender, mut chunks) = channel(1);
        let mut keep_alive = KeepAlive::new(operation, framing, sender);
        let (start, mut sent) = (Instant::now(), Vec::new());
        {
            let mut work = pin!(keep_alive.during(sleep(Duration::from_secs(seconds))));
            loop {
                tokio::select! {
                    () = &mut work => break,
                    _ = chunks.recv(), if is_taken => sent.push(start.elapsed().as_secs()),
                }
            }
        }
        assert_eq!(keep_alive.sent > 0, !keep_alive.bytes.is_empty());
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn a_keep_alive_is_sent_at_once_and_every_ten_seconds() {
        let sse = sent_at(Framing::Events, Operation::Chat, 35, true).await;
        assert_eq!(sse, [0, 10, 20, 30]);
        let array = sent_at(Framing::Array, Operation::StreamGenerateContent, 15, true).await;
        assert_eq!(array, [0, 10]);
        assert_eq!(sent_at(Framing::Aws, Operation::ConverseStream, 35, true).await, [0u64; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_does_not_read_delays_nothing() {
        let start = Instant::now();
        sent_at(Framing::Events, Operation::Chat, 35, false).await;
        assert_eq!(start.elapsed(), Duration::from_secs(35));
    }
}
