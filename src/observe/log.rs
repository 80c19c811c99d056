//! The log: a bounded buffer in memory that a separate thread writes to standard output, so no request
//! waits for a slow pipe or a full disk.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, ParseError, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry;

/// Size of the buffer in bytes. Lines that do not fit are dropped and counted.
const MAX_BUFFERED: usize = 1 << 20;
/// Lines that arrive within this time are written together.
const BATCH_DELAY: Duration = Duration::from_millis(10);
/// Capacity of the batch that is kept after a write.
const BATCH_CAPACITY: usize = 64 * 1024;
/// Longest time to write the last lines when the process ends.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Libraries, by prefix of their target, of which only warnings and errors are logged, whatever the filter
/// contains. At debug and trace they log requests and answers: yup-oauth2 private tokens, aws-sigv4 the
/// text that it signs, the others headers and frames.
const CAPPED: [&str; 7] =
    ["aws_", "h2", "hyper", "reqsign", "rustls", "tokio_rustls", "yup_oauth2"];

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// Plain text for people.
    Text,
}

impl Format {
    /// Returns text if standard output is a terminal, else JSON.
    pub fn of_stdout() -> Self {
        if io::stdout().is_terminal() { Format::Text } else { Format::Json }
    }
}

/// The log. A clone shares the buffer.
#[derive(Clone, Debug)]
pub struct Log {
    format: Format,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when the buffer gets its first line.
    filled: Condvar,
    /// Notified when a batch has been written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    dropped: u64,
    writing: bool,
    closed: bool,
}

impl Log {
    /// Starts the log on standard output and sends the events of `tracing` to it. `filter` has the syntax of
    /// `tracing_subscriber::EnvFilter`; the libraries in `CAPPED` are limited in addition. Fails if the
    /// filter is invalid or a log was started before.
    pub fn start(filter: &str, format: Format) -> Result<Self, String> {
        let log = Self { format, shared: Arc::default() };
        let colors = io::stdout().is_terminal();
        let subscriber = subscriber(filter, format, colors, log.clone())
            .map_err(|error| format!("invalid log filter: {error}"))?;
        tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())?;
        // Not `io::stdout`: it keeps the bytes of a failed write, so lines would be torn.
        let out = io::stdout().as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
        let shared = log.shared.clone();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || shared.write_to(&mut File::from(out), format))
            .map_err(|error| error.to_string())?;
        Ok(log)
    }

    /// Creates a log that nothing reads, for tests of code that logs.
    #[cfg(test)]
    pub(crate) fn unread() -> Self {
        Self { format: Format::Json, shared: Arc::default() }
    }

    /// Returns the format of the log.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Adds the line that `fill` appends, or drops it if the buffer is full.
    pub fn line(&self, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.shared.lock();
        if state.lines.len() >= MAX_BUFFERED {
            state.dropped += 1;
            return;
        }
        let was_empty = state.lines.is_empty();
        fill(&mut state.lines);
        state.lines.push(b'\n');
        drop(state);
        if was_empty {
            self.shared.filled.notify_one();
        }
    }

    /// Waits until all lines are written, at most `FINISH_TIMEOUT`.
    pub fn finish(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.filled.notify_one();
        let is_busy = |state: &mut State| state.writing || !state.lines.is_empty();
        drop(self.shared.emptied.wait_timeout_while(state, FINISH_TIMEOUT, is_busy));
    }
}

/// Builds the subscriber that formats the events of `tracing` as lines.
fn subscriber<W>(
    filter: &str,
    format: Format,
    colors: bool,
    out: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, ParseError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let uncapped = filter_fn(|event| !is_capped(event)).with_max_level_hint(LevelFilter::TRACE);
    let filter = EnvFilter::try_new(filter)?.and(uncapped);
    let lines = fmt::layer().with_writer(out);
    Ok(match format {
        Format::Json => {
            Box::new(registry().with(lines.json().flatten_event(true).with_filter(filter)))
        }
        Format::Text => {
            let lines = lines.with_ansi(colors).with_target(false);
            Box::new(registry().with(lines.with_filter(filter)))
        }
    })
}

/// Returns true if the event is from a library in [`CAPPED`] and below a warning.
fn is_capped(event: &Metadata<'_>) -> bool {
    *event.level() > Level::WARN && CAPPED.iter().any(|name| event.target().starts_with(name))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, out: &mut impl Write, format: Format) {
        let mut batch = Vec::new();
        let mut torn = false;
        loop {
            let dropped = self.next(&mut batch);
            if dropped > 0 {
                write_dropped_count(&mut batch, dropped, format);
            }
            if torn {
                batch.insert(0, b'\n');
            }
            let written = write(out, &batch);
            if written > 0 {
                torn = batch[written - 1] != b'\n';
            }
            // Standard output is where problems are reported, so the loss is reported once it accepts lines
            // again: a full disk may get space; a pipe without a reader stays closed.
            if written < batch.len() {
                let lost = memchr::memchr_iter(b'\n', &batch[written..]).count() as u64;
                // The lost batch may contain the report of earlier losses: those are added again, without the
                // report itself.
                let reported = dropped.saturating_sub(1);
                self.lock().dropped += lost + reported;
            }
            batch.clear();
            batch.shrink_to(BATCH_CAPACITY);
        }
    }

    /// Waits for lines and moves them to `batch`; returns the number of lines dropped before them.
    fn next(&self, batch: &mut Vec<u8>) -> u64 {
        let mut state = self.lock();
        state.writing = false;
        self.emptied.notify_all();
        while state.lines.is_empty() {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.closed {
            drop(state);
            std::thread::sleep(BATCH_DELAY);
            state = self.lock();
        }
        state.writing = true;
        std::mem::swap(batch, &mut state.lines);
        std::mem::take(&mut state.dropped)
    }
}

/// Writes as much as possible; returns the number of bytes written.
fn write(out: &mut impl Write, batch: &[u8]) -> usize {
    let mut written = 0;
    while written < batch.len() {
        match out.write(&batch[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process that shares the pipe has made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(BATCH_DELAY);
            }
            Err(_) => break,
        }
    }
    written
}

fn write_dropped_count(batch: &mut Vec<u8>, count: u64, format: Format) {
    let now = humantime::format_rfc3339_millis(SystemTime::now());
    // Writing to memory cannot fail.
    let _ = match format {
        Format::Json => writeln!(
            batch,
            "{{\"timestamp\":\"{now}\",\"level\":\"WARN\",\"message\":\"log lines dropped\",\"count\":{count}}}"
        ),
        Format::Text => writeln!(batch, "{now}  WARN log lines dropped: {count}"),
    };
}

/// The writer of one event of `tracing`.
#[derive(Debug)]
pub struct EventWriter<'a> {
    log: &'a Log,
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = EventWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        EventWriter { log: self }
    }
}

impl Write for EventWriter<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = event.strip_suffix(b"\n").unwrap_or(event);
        self.log.line(|lines| lines.extend_from_slice(line));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logs an event of each level for each target and returns the log.
    fn logged(filter: &str, format: Format) -> String {
        let log = Log { format, shared: Arc::default() };
        let subscriber = subscriber(filter, format, false, log.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            macro_rules! events {
                ($($target:literal)*) => {$(
                    tracing::trace!(target: $target, "trace of {}", $target);
                    tracing::debug!(target: $target, "debug of {}", $target);
                    tracing::warn!(target: $target, "warning of {}", $target);
                )*};
            }
            events!("yup_oauth2::service_account" "aws_sigv4::http_request::sign" "hyper::proto" "keymux::upstream");
        });
        let lines = log.shared.lock().lines.clone();
        String::from_utf8(lines).unwrap()
    }

    /// Accepts this many bytes, then fails until the test raises the number.
    struct Full(Vec<u8>, usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.1 - self.0.len());
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_write_stops_when_the_disk_is_full() {
        let mut out = Full(Vec::new(), 5);
        assert_eq!(write(&mut out, b"one\ntwo\n"), 5);
        assert_eq!(write(&mut out, b"three\n"), 0);
        out.1 = 100;
        assert_eq!(write(&mut out, b"four\n"), 5);
        assert_eq!(out.0, b"one\ntfour\n");
    }

    #[test]
    fn no_filter_enables_debug_logs_of_capped_libraries() {
        let exact = "trace,yup_oauth2::service_account=trace,aws_sigv4[]=trace,hyper::proto=trace";
        for (filter, format) in
            [("trace", Format::Text), ("trace", Format::Json), (exact, Format::Json)]
        {
            let text = logged(filter, format);
            for name in ["yup_oauth2", "aws_sigv4", "hyper"] {
                assert!(text.contains(&format!("warning of {name}")), "{text}");
                assert!(!text.contains(&format!("debug of {name}")), "{text}");
                assert!(!text.contains(&format!("trace of {name}")), "{text}");
            }
            assert!(text.contains("trace of keymux"), "{text}");
        }
    }
}
