//! ConcurrencyLimit: how many requests may be under way at once, at a key, at a provider, or for a client.
//!
//! Whoever finds none free may line up, in several lines at once. A place that comes free goes to the
//! first in its line, and nobody who comes later takes one while somebody waits.

use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Stands for no limit.
const UNLIMITED: u32 = u32::MAX;
/// Longest line. Whoever would have to stand behind it is refused at once.
const LINE: usize = 1024;

/// A number of places; without a limit they are counted only, and no lock is taken.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    limit: AtomicU32,
    taken: AtomicU32,
    /// Whether anybody stands in line. Written under its lock.
    awaited: AtomicBool,
    line: Mutex<VecDeque<Arc<Slot>>>,
}

/// A place taken; dropping it gives it back.
#[derive(Debug)]
pub struct Permit(Arc<ConcurrencyLimit>);

/// Somebody who waits for a place, whichever of several comes first. Dropping it leaves all lines.
#[derive(Debug, Default)]
pub struct Waiter {
    slot: Arc<Slot>,
    lines: Vec<Arc<ConcurrencyLimit>>,
}

/// Where a place is handed over.
#[derive(Debug, Default)]
struct Slot(Mutex<Handover>);

#[derive(Debug)]
enum Handover {
    Awaited(Option<Waker>),
    Given(Permit),
    Closed,
}

impl Default for Handover {
    fn default() -> Self {
        Handover::Awaited(None)
    }
}

impl ConcurrencyLimit {
    /// So many; `None`: as many as are asked for.
    pub fn new(limit: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicU32::new(limit.unwrap_or(UNLIMITED)),
            taken: AtomicU32::new(0),
            awaited: AtomicBool::new(false),
            line: Mutex::default(),
        })
    }

    /// Puts another limit in force. Where more are taken than it allows, none comes free until enough
    /// are given back.
    pub fn set_limit(self: &Arc<Self>, limit: Option<u32>) {
        self.limit.store(limit.unwrap_or(UNLIMITED), Ordering::SeqCst);
        self.serve(&mut self.line());
    }

    /// Takes a place, if one is free and nobody waits for it.
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        if self.limit.load(Ordering::SeqCst) == UNLIMITED {
            self.taken.fetch_add(1, Ordering::SeqCst);
            return Some(Permit(self.clone()));
        }
        let line = self.line();
        (line.is_empty() && self.has_room()).then(|| {
            self.taken.fetch_add(1, Ordering::SeqCst);
            Permit(self.clone())
        })
    }

    /// Whether [`ConcurrencyLimit::take`] would give one now.
    pub fn is_free(&self) -> bool {
        !self.awaited.load(Ordering::SeqCst) && self.has_room()
    }

    /// How many are taken.
    pub fn in_use(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many there are.
    pub fn limit(&self) -> Option<u32> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit != UNLIMITED)
    }

    fn has_room(&self) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        limit == UNLIMITED || self.taken.load(Ordering::SeqCst) < limit
    }

    /// Hands free places to those who wait.
    fn serve(self: &Arc<Self>, line: &mut VecDeque<Arc<Slot>>) {
        while self.has_room() {
            let Some(first) = line.pop_front() else { break };
            first.give(self);
        }
        self.awaited.store(!line.is_empty(), Ordering::SeqCst);
    }

    /// A line changes as a whole or not at all.
    fn line(&self) -> MutexGuard<'_, VecDeque<Arc<Slot>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Whether it is for one of these places.
    pub fn is_of(&self, places: &Arc<ConcurrencyLimit>) -> bool {
        Arc::ptr_eq(&self.0, places)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let places = &self.0;
        places.taken.fetch_sub(1, Ordering::SeqCst);
        // Whoever lines up says so first and looks for room then, so one of the two sees the other.
        if places.awaited.load(Ordering::SeqCst) {
            places.serve(&mut places.line());
        }
    }
}

impl Slot {
    /// Hands a place over, unless another line was faster.
    fn give(&self, places: &Arc<ConcurrencyLimit>) {
        let mut handover = self.handover();
        if let Handover::Awaited(waker) = &mut *handover {
            let waker = waker.take();
            places.taken.fetch_add(1, Ordering::SeqCst);
            *handover = Handover::Given(Permit(places.clone()));
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn handover(&self) -> MutexGuard<'_, Handover> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Joins the end of a line; once. `false`: it is too long.
    pub fn enqueue(&mut self, places: &Arc<ConcurrencyLimit>) -> bool {
        if self.lines.iter().any(|own| Arc::ptr_eq(own, places)) {
            return true;
        }
        let mut line = places.line();
        if line.len() >= LINE {
            return false;
        }
        self.lines.push(places.clone());
        line.push_back(self.slot.clone());
        places.awaited.store(true, Ordering::SeqCst);
        places.serve(&mut line);
        true
    }
}

impl Future for Waiter {
    type Output = Permit;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        let mut handover = self.slot.handover();
        match &mut *handover {
            Handover::Awaited(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Handover::Given(_) | Handover::Closed => {
                match mem::replace(&mut *handover, Handover::Closed) {
                    Handover::Given(permit) => Poll::Ready(permit),
                    Handover::Awaited(_) | Handover::Closed => Poll::Pending,
                }
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // Closed first, so that no line hands it one more; what it was given goes to the next.
        let last = mem::replace(&mut *self.slot.handover(), Handover::Closed);
        for places in &self.lines {
            let mut line = places.line();
            line.retain(|slot| !Arc::ptr_eq(slot, &self.slot));
            places.serve(&mut line);
        }
        drop(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(waiter: &mut Waiter) -> Option<Permit> {
        match Pin::new(waiter).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    #[test]
    fn there_are_as_many_as_the_limit_says() {
        let places = ConcurrencyLimit::new(Some(2));
        let (one, two) = (places.try_acquire().expect("one"), places.try_acquire().expect("two"));
        assert!(places.try_acquire().is_none() && !places.is_free());
        drop(one);
        assert!(places.is_free());
        let again = places.try_acquire().expect("a place given back");
        assert_eq!(places.in_use(), 2);
        drop((two, again));
        assert_eq!(places.in_use(), 0);
        let open = ConcurrencyLimit::new(None);
        let many: Vec<_> = (0..5000).map(|_| open.try_acquire().expect("no limit")).collect();
        assert_eq!((open.in_use(), open.limit()), (5000, None));
        drop(many);
        assert_eq!(open.in_use(), 0);
    }

    #[test]
    fn who_waits_longest_comes_first_and_nobody_overtakes() {
        let places = ConcurrencyLimit::new(Some(1));
        let held = places.try_acquire().expect("a place");
        let (mut first, mut second) = (Waiter::default(), Waiter::default());
        assert!(first.enqueue(&places) && second.enqueue(&places));
        assert!(ready(&mut first).is_none());
        drop(held);
        assert!(places.try_acquire().is_none(), "it is the first one's");
        assert!(ready(&mut second).is_none());
        let held = ready(&mut first).expect("its turn");
        drop(held);
        assert!(ready(&mut second).is_some());
        drop((first, second));
        assert!(places.try_acquire().is_some());
    }

    #[test]
    fn who_waits_for_several_takes_one() {
        let (a, b) = (ConcurrencyLimit::new(Some(1)), ConcurrencyLimit::new(Some(1)));
        let (at_a, at_b) = (a.try_acquire().expect("a place"), b.try_acquire().expect("a place"));
        let mut waiter = Waiter::default();
        assert!(waiter.enqueue(&a) && waiter.enqueue(&b) && waiter.enqueue(&a));
        drop((at_a, at_b));
        let given = ready(&mut waiter).expect("a place");
        assert!(given.is_of(&a) && !given.is_of(&b));
        assert!(b.is_free(), "the other goes on to whoever comes");
        drop(waiter);
        assert!(!a.is_free());
        drop(given);
        assert!(a.is_free());
    }

    #[test]
    fn who_leaves_hands_on_what_was_given() {
        let places = ConcurrencyLimit::new(Some(1));
        let held = places.try_acquire().expect("a place");
        let (mut gone, mut next) = (Waiter::default(), Waiter::default());
        assert!(gone.enqueue(&places) && next.enqueue(&places));
        drop(held);
        drop(gone);
        assert!(ready(&mut next).is_some());
        assert_eq!(places.in_use(), 0);
    }

    #[test]
    fn another_limit_counts_what_is_taken() {
        let places = ConcurrencyLimit::new(None);
        let held: Vec<_> = (0..3).map(|_| places.try_acquire().expect("no limit")).collect();
        places.set_limit(Some(2));
        assert!(places.try_acquire().is_none());
        let mut waiter = Waiter::default();
        assert!(waiter.enqueue(&places));
        places.set_limit(Some(3));
        assert!(ready(&mut waiter).is_none());
        places.set_limit(Some(4));
        assert!(ready(&mut waiter).is_some());
        drop(held);
        assert_eq!(places.in_use(), 0);
    }

    #[test]
    fn a_line_has_an_end() {
        let places = ConcurrencyLimit::new(Some(1));
        let _held = places.try_acquire();
        let mut line: Vec<Waiter> = (0..LINE).map(|_| Waiter::default()).collect();
        assert!(line.iter_mut().all(|waiter| waiter.enqueue(&places)));
        assert!(!Waiter::default().enqueue(&places));
        line.pop();
        assert!(Waiter::default().enqueue(&places));
    }

    #[test]
    fn threads_never_hold_more_than_there_are() {
        let (places, most) = (ConcurrencyLimit::new(Some(3)), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let mut waiter = Waiter::default();
                        let held = places.try_acquire().or_else(|| {
                            waiter.enqueue(&places);
                            ready(&mut waiter)
                        });
                        if held.is_some() {
                            let now = most.fetch_add(1, Ordering::SeqCst) + 1;
                            assert!(now <= 3, "{now}");
                            most.fetch_sub(1, Ordering::SeqCst);
                        }
                        drop(held);
                    }
                });
            }
        });
        assert_eq!(places.in_use(), 0);
        assert!(places.is_free());
    }
}
