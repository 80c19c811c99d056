//! Where lines go: a bounded buffer in memory, emptied to standard output by a thread of its own, so
//! that no request waits for a slow pipe or a full disk.

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

/// Lines waiting to be written, in bytes; what comes on top is dropped and counted.
const LIMIT: usize = 1 << 20;
/// Lines that come within this time of each other leave with one write.
const GATHER: Duration = Duration::from_millis(10);
/// Room for lines that is kept when they are written.
const KEPT: usize = 64 * 1024;
/// How long the last lines may take when the program ends.
const LAST: Duration = Duration::from_secs(1);

/// Libraries, by the beginning of their name, of which warnings and errors are the most that is logged,
/// whatever the filter asks for. At debug and trace they write out requests and answers: yup-oauth2
/// private tokens, aws-sigv4 what it signs, the others headers and frames.
const CAPPED: [&str; 7] =
    ["aws_", "h2", "hyper", "reqsign", "rustls", "tokio_rustls", "yup_oauth2"];

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Format {
    /// Text on a terminal, JSON elsewhere.
    pub fn of_stdout() -> Self {
        if io::stdout().is_terminal() { Format::Text } else { Format::Json }
    }
}

/// The log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    format: Format,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
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
    /// Starts the log: standard output, and tracing's events into it. `filter` is in
    /// tracing-subscriber's syntax, and some libraries are kept quiet whatever it says. Fails when it is
    /// not in that syntax, or there is a log already.
    pub fn start(filter: &str, format: Format) -> Result<Self, String> {
        let log = Self { format, shared: Arc::default() };
        let colours = io::stdout().is_terminal();
        let subscriber = subscriber(filter, format, colours, log.clone())
            .map_err(|error| format!("not a log filter: {error}"))?;
        tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())?;
        // Not `io::stdout`: it keeps what it could not write, and so lines in pieces.
        let out = io::stdout().as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
        let shared = log.shared.clone();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || shared.write_to(&mut File::from(out), format))
            .map_err(|error| error.to_string())?;
        Ok(log)
    }

    /// A log that nobody reads, for tests of what writes to it.
    #[cfg(test)]
    pub(crate) fn unread() -> Self {
        Self { format: Format::Json, shared: Arc::default() }
    }

    /// How lines look.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Adds the line that `fill` appends, or drops it when too much is waiting already.
    pub fn line(&self, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.shared.lock();
        if state.lines.len() >= LIMIT {
            state.dropped += 1;
            return;
        }
        let first = state.lines.is_empty();
        fill(&mut state.lines);
        state.lines.push(b'\n');
        drop(state);
        if first {
            self.shared.filled.notify_one();
        }
    }

    /// Waits, a second at most, until all lines are written.
    pub fn finish(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.filled.notify_one();
        let busy = |state: &mut State| state.writing || !state.lines.is_empty();
        drop(self.shared.emptied.wait_timeout_while(state, LAST, busy));
    }
}

/// What turns tracing's events into lines.
fn subscriber<W>(
    filter: &str,
    format: Format,
    colours: bool,
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
            let lines = lines.with_ansi(colours).with_target(false);
            Box::new(registry().with(lines.with_filter(filter)))
        }
    })
}

/// Whether an event with this description says too much.
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
                lines_dropped(&mut batch, dropped, format);
            }
            if torn {
                batch.insert(0, b'\n');
            }
            let written = write(out, &batch);
            if written > 0 {
                torn = batch[written - 1] != b'\n';
            }
            // Nowhere to report it: standard output is where reports go. It is told once it takes lines
            // again: a full disk may have room, though a pipe without a reader has none ever after.
            if written < batch.len() {
                let lost = memchr::memchr_iter(b'\n', &batch[written..]).count() as u64;
                // The line that tells of others stands for these, and no line is for its own sake.
                let told = if dropped > 0 { dropped - 1 } else { 0 };
                self.lock().dropped += lost + told;
            }
            batch.clear();
            batch.shrink_to(KEPT);
        }
    }

    /// Waits for lines; how many were dropped before them.
    fn next(&self, batch: &mut Vec<u8>) -> u64 {
        let mut state = self.lock();
        state.writing = false;
        self.emptied.notify_all();
        while state.lines.is_empty() {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.closed {
            drop(state);
            std::thread::sleep(GATHER);
            state = self.lock();
        }
        state.writing = true;
        std::mem::swap(batch, &mut state.lines);
        std::mem::take(&mut state.dropped)
    }
}

/// Writes as much as goes; how much that was.
fn write(out: &mut impl Write, batch: &[u8]) -> usize {
    let mut written = 0;
    while written < batch.len() {
        match out.write(&batch[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A pipe that whoever shares it has made non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(GATHER);
            }
            Err(_) => break,
        }
    }
    written
}

fn lines_dropped(batch: &mut Vec<u8>, count: u64, format: Format) {
    let now = humantime::format_rfc3339_millis(SystemTime::now());
    // Writing into memory cannot fail.
    let _ = match format {
        Format::Json => writeln!(
            batch,
            "{{\"timestamp\":\"{now}\",\"level\":\"WARN\",\"message\":\"lines dropped\",\"count\":{count}}}"
        ),
        Format::Text => writeln!(batch, "{now}  WARN lines dropped: {count}"),
    };
}

/// What tracing writes one event with.
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

    /// What is logged of one event at each level for each of the targets.
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

    /// Takes this many bytes, then fails until it is told to take more.
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
    fn what_is_written_stops_where_the_disk_is_full() {
        let mut out = Full(Vec::new(), 5);
        assert_eq!(write(&mut out, b"one\ntwo\n"), 5);
        assert_eq!(write(&mut out, b"three\n"), 0);
        out.1 = 100;
        assert_eq!(write(&mut out, b"four\n"), 5);
        assert_eq!(out.0, b"one\ntfour\n");
    }

    #[test]
    fn no_filter_makes_libraries_write_out_what_they_send() {
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
