//! Files -> "content may have changed".
//!
//! Nothing here knows what the files hold. [`Watcher::changed`] is eager on purpose: whoever waits
//! for it reads the files again and compares their hash, so a wake-up too many costs one read, and a
//! wake-up too few would cost a change.
//!
//! ```text
//! event thread (notify) -> one flag -> changed(): quiet for `settle` -> look() -> report
//! clock                 -> tick     ->            look(), compare stamps ------> report
//! ```
//!
//! A look traces every file anew, link by link, and renews all watches *before* the report. What was
//! written before the look is in what the caller reads next; what is written after it is an event.

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
use watch_points::Places;

/// Writes that never pause put a report off for at most this many settle times.
const MOST_SETTLES: u32 = 20;

/// Waits for changes of a set of files.
#[derive(Debug)]
pub struct Watcher {
    reload: Reload,
    watched: Arc<FileSet>,
    /// The one pending flag: events that come while it is up are not kept.
    touched: Arc<Notify>,
    eyes: Eyes,
    /// The look under way. It is kept here, so a dropped `changed()` loses nothing.
    looking: Option<(Why, JoinHandle<(Eyes, Seen)>)>,
    /// The set was replaced and nothing watches it yet.
    stale: bool,
    stamp: Option<u64>,
    unrest: Option<Unrest>,
    next_tick: Instant,
    warnings: Vec<String>,
}

impl Watcher {
    /// Takes the set; watching begins with the first [`Watcher::changed`].
    pub fn new(reload: Reload, watched: FileSet) -> Self {
        Self {
            reload,
            watched: Arc::new(watched),
            touched: Arc::default(),
            eyes: Eyes::default(),
            looking: None,
            stale: true,
            stamp: None,
            unrest: None,
            next_tick: after(Instant::now(), reload.poll_interval),
            warnings: Vec::new(),
        }
    }

    /// Replaces settings and set, after a reload. Does nothing when both stay as they are.
    pub fn watch(&mut self, reload: Reload, watched: FileSet) {
        if reload == self.reload && watched == *self.watched {
            return;
        }
        self.reload = reload;
        self.watched = Arc::new(watched);
        self.stale = true;
        self.next_tick = after(Instant::now(), reload.poll_interval);
        if reload.watch == WatchMode::Off {
            self.eyes = Eyes::default();
            self.looking = None;
            self.unrest = None;
            self.warnings.clear();
        }
    }

    /// Resolves when something may have changed and the files have been quiet for `settle`, and at
    /// least once every `poll_interval`. It also resolves once for each new set, since nobody saw
    /// what happened between the caller's read and the beginning of the watch.
    ///
    /// With [`WatchMode::Off`] it never resolves. Dropping it loses nothing.
    pub async fn changed(&mut self) {
        if self.reload.watch == WatchMode::Off {
            return std::future::pending().await;
        }
        loop {
            if self.stale && self.looking.is_none() {
                self.look(Why::NewSet);
            }
            if let Some((why, look)) = &mut self.looking {
                let why = *why;
                let result = look.await;
                self.looking = None;
                // A look ends early only when the runtime stops.
                let Ok((eyes, seen)) = result else { return std::future::pending().await };
                self.eyes = eyes;
                if self.done(why, seen) {
                    return;
                }
                continue;
            }
            tokio::select! {
                biased;
                () = self.touched.notified() => Unrest::by_event(&mut self.unrest),
                () = sleep_until(self.due()) => {
                    let why = if self.unrest.is_some() { Why::Quiet } else { Why::Tick };
                    self.look(why);
                }
            }
        }
    }

    /// What stands in the way of noticing changes, in words. Renewed before each `changed()`.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn due(&self) -> Instant {
        match &self.unrest {
            Some(unrest) => unrest.quiet_at(&self.reload).min(unrest.last_moment(&self.reload)),
            None => self.next_tick,
        }
    }

    /// Starts a look. Files are asked on a thread that may block: a dead network mount must not stop
    /// the requests.
    fn look(&mut self, why: Why) {
        if why == Why::NewSet {
            self.stale = false;
        }
        let mut eyes = std::mem::take(&mut self.eyes);
        let (reload, watched) = (self.reload, Arc::clone(&self.watched));
        let touched = Arc::clone(&self.touched);
        let look = tokio::task::spawn_blocking(move || {
            let seen = eyes.look(reload, &watched, &touched);
            (eyes, seen)
        });
        self.looking = Some((why, look));
    }

    /// Takes the result of a look; `true`: report a change.
    fn done(&mut self, why: Why, seen: Seen) -> bool {
        let differs = self.stamp.replace(seen.stamp) != Some(seen.stamp);
        self.warnings = seen.warnings;
        if self.stale {
            return false;
        }
        let now = Instant::now();
        match (why, &mut self.unrest) {
            (Why::NewSet, _) => {
                Unrest::by_event(&mut self.unrest);
                return false;
            }
            // No events told of this change, so only the stamps can tell whether it is over.
            (_, Some(unrest))
                if unrest.polled && differs && now < unrest.last_moment(&self.reload) =>
            {
                unrest.latest = now;
                return false;
            }
            (Why::Tick, None) if differs => {
                self.unrest = Some(Unrest { since: now, latest: now, polled: true });
                return false;
            }
            _ => {}
        }
        self.unrest = None;
        self.next_tick = after(now, self.reload.poll_interval);
        true
    }
}

/// Why a look is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    NewSet,
    Quiet,
    Tick,
}

/// A change that was noticed and not yet reported.
#[derive(Debug)]
struct Unrest {
    since: Instant,
    latest: Instant,
    /// Noticed by comparing stamps, not by an event.
    polled: bool,
}

impl Unrest {
    fn by_event(unrest: &mut Option<Unrest>) {
        let now = Instant::now();
        let unrest = unrest.get_or_insert(Unrest { since: now, latest: now, polled: false });
        unrest.latest = now;
        unrest.polled = false;
    }

    fn quiet_at(&self, reload: &Reload) -> Instant {
        after(self.latest, reload.settle)
    }

    fn last_moment(&self, reload: &Reload) -> Instant {
        after(self.since, reload.settle.saturating_mul(MOST_SETTLES))
    }
}

/// What a look found.
#[derive(Debug)]
struct Seen {
    /// Changes when a file, a link or a directory entry does.
    stamp: u64,
    warnings: Vec<String>,
}

/// The event watcher and what it watches.
#[derive(Debug, Default)]
struct Eyes {
    events: Option<RecommendedWatcher>,
    /// What the event thread lets through.
    places: Arc<ArcSwap<Places>>,
}

impl Eyes {
    /// Blocks: walks the file system.
    fn look(&mut self, reload: Reload, watched: &FileSet, touched: &Arc<Notify>) -> Seen {
        let places = Arc::new(Places::trace(watched));
        let before = self.places.swap(Arc::clone(&places));
        let mut warnings: Vec<String> =
            watched.files.iter().filter_map(|file| bind_mount_warning(file)).collect();
        if reload.watch == WatchMode::Auto {
            let events = self.renew(&before, &places, touched);
            let polling = format!("changes are noticed every {:?} only", reload.poll_interval);
            warnings.extend(events.iter().map(|problem| format!("{problem}; {polling}")));
        } else {
            self.events = None;
        }
        // After the watches: a change that comes between is an event, not a difference that hides.
        Seen { stamp: places.stamp(watched), warnings }
    }

    /// Watches all directories anew: one that was replaced by another of the same name looks the
    /// same from outside, and its old watch is dead. Returns what could not be watched.
    fn renew(&mut self, before: &Places, now: &Places, touched: &Arc<Notify>) -> Vec<String> {
        if self.events.is_none() {
            match events(Arc::clone(&self.places), Arc::clone(touched)) {
                Ok(events) => self.events = Some(events),
                Err(error) => return vec![format!("cannot watch files ({error})")],
            }
        }
        let Some(events) = &mut self.events else { return Vec::new() };
        for directory in before.directories() {
            // Not under watch any more is what we want, so the error says nothing.
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

/// Starts the event thread. It does nothing but raise the flag.
fn events(
    places: Arc<ArcSwap<Places>>,
    touched: Arc<Notify>,
) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.map_or(true, |event| matters(&event, &places.load())) {
            touched.notify_one();
        }
    })
}

/// Whether an event is about one of the watched places. Reads are not: ours would wake us for ever.
fn matters(event: &Event, places: &Places) -> bool {
    let read = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    };
    // An event without a path says that events were lost.
    !read && (event.paths.is_empty() || event.paths.iter().any(|path| places.hold(path)))
}

/// notify's own text repeats the path in Rust's debug form.
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
            notify::ErrorKind::PathNotFound => "it is gone".into(),
            _ => "the event watcher failed".into(),
        }
    }
}

/// Far away instead of an overflow.
fn after(start: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(86400 * 365);
    start.checked_add(time.min(FAR)).unwrap_or(start)
}
