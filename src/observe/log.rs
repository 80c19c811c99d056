//! Where lines go: a bounded buffer in memory, emptied to standard output by a thread of its own, so
//! that no request waits for a slow pipe or a full disk.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, ParseError, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry;

/// Lines waiting to be written, in bytes; what comes on top is dropped and counted.
const LIMIT: usize = 1 << 20;
/// Lines that come within this time of each other leave with one write.
const GATHER: Duration = Duration::from_millis(10);
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
        let shared = log.shared.clone();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || shared.write_to(&mut io::stdout()))
            .map_err(|error| error.to_string())?;
        Ok(log)
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

    fn write_to(&self, out: &mut impl Write) {
        let mut batch = Vec::new();
        loop {
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
            std::mem::swap(&mut batch, &mut state.lines);
            let dropped = std::mem::take(&mut state.dropped);
            drop(state);
            if dropped > 0 {
                let _ = writeln!(
                    batch,
                    "{{\"level\":\"WARN\",\"message\":\"lines dropped\",\"count\":{dropped}}}"
                );
            }
            // Nowhere to report it: standard output is where reports go.
            let _ = out.write_all(&batch).and_then(|()| out.flush());
            batch.clear();
        }
    }
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
