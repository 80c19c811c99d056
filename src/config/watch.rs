//! Reports that the content of the files may have changed.
//!
//! This module does not read the files. [`Watcher::changed`] may report too often: its caller reads the
//! files again and compares their hash, so an extra report costs one read, but a missing one would lose a
//! change.
//!
//! ```text
//! event thread (notify) -> one flag -> changed(): no event for `settle` -> scan() -> report
//! clock                 -> tick     ->            scan(), compare stamps ---------> report
//! ```
//!
//! A scan follows every file again, link by link, and renews all watches *before* the report. The caller
//! then reads everything that was written before the scan; everything after it is an event.

mod bind_mount;
mod watch_points;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::{FileSet, Reload, WatchMode};

pub use bind_mount::bind_mount_warning;
use watch_points::WatchPoints;

/// Continuous writes delay a report by at most this many settle times.
const MAX_SETTLES: u32 = 20;

/// Waits for changes of a set of files.
#[derive(Debug)]
pub struct Watcher {
    reload: Reload,
    files: Arc<FileSet>,
    /// A flag without a count: events that arrive while it is set are not queued.
    event_flag: Arc<Notify>,
    watches: Watches,
    /// The running scan. It is stored here, so that dropping `changed()` loses nothing.
    scan: Option<(ScanReason, JoinHandle<(Watches, ScanResult)>)>,
    /// True if the set was replaced and is not watched yet.
    is_stale: bool,
    stamp: Option<u64>,
    pending: Option<PendingChange>,
    next_tick: Instant,
    warnings: Vec<String>,
}

impl Watcher {
    /// Takes the set of files. Watching begins with the first [`Watcher::changed`].
    pub fn new(reload: Reload, files: FileSet) -> Self {
        Self {
            reload,
            files: Arc::new(files),
            event_flag: Arc::default(),
            watches: Watches::default(),
            scan: None,
            is_stale: true,
            stamp: None,
            pending: None,
            next_tick: after(Instant::now(), reload.poll_interval),
            warnings: Vec::new(),
        }
    }

    /// Repoints settings and set after a reload. Does nothing if both are equal.
    pub fn update(&mut self, reload: Reload, files: FileSet) {
        if reload == self.reload && files == *self.files {
            return;
        }
        self.reload = reload;
        self.files = Arc::new(files);
        self.is_stale = true;
        self.next_tick = after(Instant::now(), reload.poll_interval);
        if reload.watch == WatchMode::Off {
            self.watches = Watches::default();
            self.scan = None;
            self.pending = None;
            self.warnings.clear();
        }
    }

    /// Resolves when something may have changed and the files have been unchanged for `settle`, and at least
    /// once every `poll_interval`. It also resolves once for each new set, because changes between the
    /// caller's read and the beginning of the watch are not observed.
    ///
    /// With [`WatchMode::Off`] it never resolves. It can be dropped at any time without losing a change.
    pub async fn changed(&mut self) {
        if self.reload.watch == WatchMode::Off {
            return std::future::pending().await;
        }
        loop {
            if self.is_stale && self.scan.is_none() {
                self.start_scan(ScanReason::NewFiles);
            }
            if let Some((reason, scan)) = &mut self.scan {
                let reason = *reason;
                let result = scan.await;
                self.scan = None;
                // A scan is cancelled only when the runtime stops.
                let Ok((watches, result)) = result else { return std::future::pending().await };
                self.watches = watches;
                if self.finish_scan(reason, result) {
                    return;
                }
                continue;
            }
            tokio::select! {
                biased;
                () = self.event_flag.notified() => PendingChange::record_event(&mut self.pending),
                () = sleep_until(self.next_scan_at()) => {
                    let reason = if self.pending.is_some() { ScanReason::Settled } else { ScanReason::Tick };
                    self.start_scan(reason);
                }
            }
        }
    }

    /// Returns warnings about changes that cannot be detected. Updated before each report.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn next_scan_at(&self) -> Instant {
        match &self.pending {
            Some(pending) => {
                pending.settled_at(&self.reload).min(pending.latest_report_at(&self.reload))
            }
            None => self.next_tick,
        }
    }

    /// Starts a scan on a blocking thread: a hanging network mount must not stop the requests.
    fn start_scan(&mut self, reason: ScanReason) {
        if reason == ScanReason::NewFiles {
            self.is_stale = false;
        }
        let mut watches = std::mem::take(&mut self.watches);
        let (reload, files) = (self.reload, Arc::clone(&self.files));
        let event_flag = Arc::clone(&self.event_flag);
        let scan = tokio::task::spawn_blocking(move || {
            let result = watches.scan(reload, &files, &event_flag);
            (watches, result)
        });
        self.scan = Some((reason, scan));
    }

    /// Records the result of a scan. Returns true if a change must be reported.
    fn finish_scan(&mut self, reason: ScanReason, result: ScanResult) -> bool {
        let differs = self.stamp.replace(result.stamp) != Some(result.stamp);
        self.warnings = result.warnings;
        if self.is_stale {
            return false;
        }
        let now = Instant::now();
        match (reason, &mut self.pending) {
            (ScanReason::NewFiles, _) => {
                PendingChange::record_event(&mut self.pending);
                return false;
            }
            // No event reported this change, so only the stamps show when it is complete.
            (_, Some(pending))
                if pending.is_polled && differs && now < pending.latest_report_at(&self.reload) =>
            {
                pending.latest = now;
                return false;
            }
            (ScanReason::Tick, None) if differs => {
                self.pending = Some(PendingChange { since: now, latest: now, is_polled: true });
                return false;
            }
            _ => {}
        }
        self.pending = None;
        self.next_tick = after(now, self.reload.poll_interval);
        true
    }
}

/// The reason for a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScanReason {
    NewFiles,
    Settled,
    Tick,
}

/// A change that was detected but not yet reported.
#[derive(Debug)]
struct PendingChange {
    since: Instant,
    latest: Instant,
    /// True if it was detected by comparing stamps, not by an event.
    is_polled: bool,
}

impl PendingChange {
    fn record_event(pending: &mut Option<PendingChange>) {
        let now = Instant::now();
        let pending =
            pending.get_or_insert(PendingChange { since: now, latest: now, is_polled: false });
        pending.latest = now;
        pending.is_polled = false;
    }

    fn settled_at(&self, reload: &Reload) -> Instant {
        after(self.latest, reload.settle)
    }

    fn latest_report_at(&self, reload: &Reload) -> Instant {
        after(self.since, reload.settle.saturating_mul(MAX_SETTLES))
    }
}

/// The result of a scan.
#[derive(Debug)]
struct ScanResult {
    /// Differs after a change of a file, a link or a directory entry.
    stamp: u64,
    warnings: Vec<String>,
}

/// The event watcher and the paths that it watches.
#[derive(Debug, Default)]
struct Watches {
    events: Option<RecommendedWatcher>,
    /// The paths whose events are reported.
    points: Arc<ArcSwap<WatchPoints>>,
}

impl Watches {
    /// Follows all files and renews the watches. Blocks.
    fn scan(&mut self, reload: Reload, files: &FileSet, event_flag: &Arc<Notify>) -> ScanResult {
        let points = Arc::new(WatchPoints::trace(files));
        let before = self.points.swap(Arc::clone(&points));
        let mut warnings: Vec<String> =
            files.files.iter().filter_map(|file| bind_mount_warning(file)).collect();
        if reload.watch == WatchMode::Auto {
            let events = self.renew(&before, &points, event_flag);
            let polling = format!("changes are detected only every {:?}", reload.poll_interval);
            warnings.extend(events.iter().map(|problem| format!("{problem}; {polling}")));
        } else {
            self.events = None;
        }
        // After the watches: a change in between is then an event, and not part of the first stamp.
        ScanResult { stamp: points.stamp(files), warnings }
    }

    /// Renews the watches of all directories: the watch of a directory that was replaced by another one with
    /// the same name no longer works. Returns messages about directories that could not be watched.
    fn renew(
        &mut self,
        before: &WatchPoints,
        now: &WatchPoints,
        event_flag: &Arc<Notify>,
    ) -> Vec<String> {
        if self.events.is_none() {
            match start_event_thread(Arc::clone(&self.points), Arc::clone(event_flag)) {
                Ok(events) => self.events = Some(events),
                Err(error) => return vec![format!("cannot watch files ({error})")],
            }
        }
        let Some(events) = &mut self.events else { return Vec::new() };
        for directory in before.directories() {
            // An error means that it is not watched any more, which is the aim.
            let _ = events.unwatch(directory);
        }
        let mut problems = Vec::new();
        for directory in now.directories() {
            if let Err(error) = events.watch(directory, RecursiveMode::NonRecursive) {
                problems.push(format!(
                    "cannot watch {} ({})",
                    directory.display(),
                    error.kind_text()
                ));
            }
        }
        problems
    }
}

/// Starts the event thread, which only sets the flag.
fn start_event_thread(
    points: Arc<ArcSwap<WatchPoints>>,
    event_flag: Arc<Notify>,
) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.map_or(true, |event| is_relevant(&event, &points.load())) {
            event_flag.notify_one();
        }
    })
}

/// True if an event concerns one of the paths. Reads are ignored, because our own would cause endless scans.
fn is_relevant(event: &Event, points: &WatchPoints) -> bool {
    let is_read = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    };
    // An event without a path means that events were lost.
    !is_read && (event.paths.is_empty() || event.paths.iter().any(|path| points.contains(path)))
}

/// An error text without the path, which notify prints in Rust's debug format.
trait KindText {
    fn kind_text(&self) -> String;
}

impl KindText for notify::Error {
    fn kind_text(&self) -> String {
        match &self.kind {
            notify::ErrorKind::Io(error) => error.to_string(),
            notify::ErrorKind::MaxFilesWatch => {
                "the limit fs.inotify.max_user_watches is reached".into()
            }
            notify::ErrorKind::PathNotFound => "it no longer exists".into(),
            _ => "the event watcher failed".into(),
        }
    }
}

/// Adds a duration, limited to a year so that it cannot overflow.
fn after(start: Instant, time: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(86400 * 365);
    start.checked_add(time.min(LONGEST)).unwrap_or(start)
}
