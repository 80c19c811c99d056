//! `max_concurrent` of a key, a provider or a client: permits for requests under way, and the queue for
//! them.
//!
//! A request that finds no free permit can wait in several queues at once. A permit that is returned goes
//! to the first waiter of its queue, and no later request gets one while a waiter is queued.

use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The value of `limit` that means no limit.
const UNLIMITED: u32 = u32::MAX;
/// Longest queue. A request that finds it full is refused at once.
const MAX_QUEUE: usize = 1024;

/// A limit on the requests under way. Without a limit they are only counted, and no lock is taken.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    limit: AtomicU32,
    in_use: AtomicU32,
    /// Set while the queue has a waiter. Written under the lock of the queue.
    has_waiters: AtomicBool,
    queue: Mutex<VecDeque<Arc<Slot>>>,
}

/// The right to one request under way. Dropping it returns it.
#[derive(Debug)]
pub struct Permit(Arc<ConcurrencyLimit>);

/// A wait for a permit of any of the limits in whose queues it is. Dropping it leaves all queues.
#[derive(Debug, Default)]
pub struct Waiter {
    slot: Arc<Slot>,
    queued_at: Vec<Arc<ConcurrencyLimit>>,
}

/// The slot of a waiter that receives the permit; every queue of the waiter holds it.
#[derive(Debug, Default)]
struct Slot(Mutex<SlotState>);

#[derive(Debug)]
enum SlotState {
    Waiting(Option<Waker>),
    Granted(Permit),
    Closed,
}

impl Default for SlotState {
    fn default() -> Self {
        SlotState::Waiting(None)
    }
}

impl ConcurrencyLimit {
    /// Creates a limit; `None` means no limit.
    pub fn new(limit: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicU32::new(limit.unwrap_or(UNLIMITED)),
            in_use: AtomicU32::new(0),
            has_waiters: AtomicBool::new(false),
            queue: Mutex::default(),
        })
    }

    /// Changes the limit. If more permits are in use than the new limit allows, none is granted until
    /// enough are returned.
    pub fn set_limit(self: &Arc<Self>, limit: Option<u32>) {
        self.limit.store(limit.unwrap_or(UNLIMITED), Ordering::SeqCst);
        self.grant_free_permits(&mut self.queue());
    }

    /// Returns a permit if one is free and no waiter is queued.
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        if self.limit.load(Ordering::SeqCst) == UNLIMITED {
            self.in_use.fetch_add(1, Ordering::SeqCst);
            return Some(Permit(self.clone()));
        }
        let queue = self.queue();
        (queue.is_empty() && self.is_below_limit()).then(|| {
            self.in_use.fetch_add(1, Ordering::SeqCst);
            Permit(self.clone())
        })
    }

    /// Returns true if [`ConcurrencyLimit::try_acquire`] would return a permit now.
    pub fn is_free(&self) -> bool {
        !self.has_waiters.load(Ordering::SeqCst) && self.is_below_limit()
    }

    /// Returns the number of permits in use.
    pub fn in_use(&self) -> u32 {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Returns the limit; `None` means no limit.
    pub fn limit(&self) -> Option<u32> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit != UNLIMITED)
    }

    fn is_below_limit(&self) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        limit == UNLIMITED || self.in_use.load(Ordering::SeqCst) < limit
    }

    /// Grants free permits to the waiters, first come, first served.
    fn grant_free_permits(self: &Arc<Self>, queue: &mut VecDeque<Arc<Slot>>) {
        while self.is_below_limit() {
            let Some(first) = queue.pop_front() else { break };
            first.grant(self);
        }
        self.has_waiters.store(!queue.is_empty(), Ordering::SeqCst);
    }

    /// A panic elsewhere cannot leave the queue half changed, so a poisoned lock is used as it is.
    fn queue(&self) -> MutexGuard<'_, VecDeque<Arc<Slot>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Returns true if the permit belongs to this limit.
    pub fn belongs_to(&self, limit: &Arc<ConcurrencyLimit>) -> bool {
        Arc::ptr_eq(&self.0, limit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let limit = &self.0;
        limit.in_use.fetch_sub(1, Ordering::SeqCst);
        // `enqueue` sets the flag first and looks for a free permit then, so one of the two sees the other.
        if limit.has_waiters.load(Ordering::SeqCst) {
            limit.grant_free_permits(&mut limit.queue());
        }
    }
}

impl Slot {
    /// Grants a permit, unless another queue has granted one already.
    fn grant(&self, limit: &Arc<ConcurrencyLimit>) {
        let mut state = self.lock();
        if let SlotState::Waiting(waker) = &mut *state {
            let waker = waker.take();
            limit.in_use.fetch_add(1, Ordering::SeqCst);
            *state = SlotState::Granted(Permit(limit.clone()));
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Joins the queue of a limit, unless it is in it already. Returns false if the queue is full.
    pub fn enqueue(&mut self, limit: &Arc<ConcurrencyLimit>) -> bool {
        if self.queued_at.iter().any(|own| Arc::ptr_eq(own, limit)) {
            return true;
        }
        let mut queue = limit.queue();
        if queue.len() >= MAX_QUEUE {
            return false;
        }
        self.queued_at.push(limit.clone());
        queue.push_back(self.slot.clone());
        limit.has_waiters.store(true, Ordering::SeqCst);
        limit.grant_free_permits(&mut queue);
        true
    }
}

impl Future for Waiter {
    type Output = Permit;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        let mut state = self.slot.lock();
        match &mut *state {
            SlotState::Waiting(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            SlotState::Granted(_) | SlotState::Closed => {
                match mem::replace(&mut *state, SlotState::Closed) {
                    SlotState::Granted(permit) => Poll::Ready(permit),
                    SlotState::Waiting(_) | SlotState::Closed => Poll::Pending,
                }
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // The slot is closed first, so that no queue grants it another permit. A permit that it has
        // already goes to the next waiter when `last` is dropped.
        let last = mem::replace(&mut *self.slot.lock(), SlotState::Closed);
        for limit in &self.queued_at {
            let mut queue = limit.queue();
            queue.retain(|slot| !Arc::ptr_eq(slot, &self.slot));
            limit.grant_free_permits(&mut queue);
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
    fn no_more_permits_than_the_limit_are_granted() {
        let limit = ConcurrencyLimit::new(Some(2));
        let (one, two) = (limit.try_acquire().expect("one"), limit.try_acquire().expect("two"));
        assert!(limit.try_acquire().is_none() && !limit.is_free());
        drop(one);
        assert!(limit.is_free());
        let again = limit.try_acquire().expect("the returned permit");
        assert_eq!(limit.in_use(), 2);
        drop((two, again));
        assert_eq!(limit.in_use(), 0);
        let unlimited = ConcurrencyLimit::new(None);
        let many: Vec<_> = (0..5000).map(|_| unlimited.try_acquire().expect("no limit")).collect();
        assert_eq!((unlimited.in_use(), unlimited.limit()), (5000, None));
        drop(many);
        assert_eq!(unlimited.in_use(), 0);
    }

    #[test]
    fn waiters_are_served_in_order_and_never_overtaken() {
        let limit = ConcurrencyLimit::new(Some(1));
        let held = limit.try_acquire().expect("a permit");
        let (mut first, mut second) = (Waiter::default(), Waiter::default());
        assert!(first.enqueue(&limit) && second.enqueue(&limit));
        assert!(ready(&mut first).is_none());
        drop(held);
        assert!(limit.try_acquire().is_none(), "reserved for the first waiter");
        assert!(ready(&mut second).is_none());
        let held = ready(&mut first).expect("the permit for the first waiter");
        drop(held);
        assert!(ready(&mut second).is_some());
        drop((first, second));
        assert!(limit.try_acquire().is_some());
    }

    #[test]
    fn a_waiter_in_several_queues_takes_one_permit() {
        let (a, b) = (ConcurrencyLimit::new(Some(1)), ConcurrencyLimit::new(Some(1)));
        let (permit_a, permit_b) =
            (a.try_acquire().expect("a permit"), b.try_acquire().expect("a permit"));
        let mut waiter = Waiter::default();
        assert!(waiter.enqueue(&a) && waiter.enqueue(&b) && waiter.enqueue(&a));
        drop((permit_a, permit_b));
        let granted = ready(&mut waiter).expect("a permit");
        assert!(granted.belongs_to(&a) && !granted.belongs_to(&b));
        assert!(b.is_free(), "the other permit is free for any request");
        drop(waiter);
        assert!(!a.is_free());
        drop(granted);
        assert!(a.is_free());
    }

    #[test]
    fn dropping_a_waiter_passes_its_permit_on() {
        let limit = ConcurrencyLimit::new(Some(1));
        let held = limit.try_acquire().expect("a permit");
        let (mut dropped, mut next) = (Waiter::default(), Waiter::default());
        assert!(dropped.enqueue(&limit) && next.enqueue(&limit));
        drop(held);
        drop(dropped);
        assert!(ready(&mut next).is_some());
        assert_eq!(limit.in_use(), 0);
    }

    #[test]
    fn a_changed_limit_counts_the_permits_in_use() {
        let limit = ConcurrencyLimit::new(None);
        let held: Vec<_> = (0..3).map(|_| limit.try_acquire().expect("no limit")).collect();
        limit.set_limit(Some(2));
        assert!(limit.try_acquire().is_none());
        let mut waiter = Waiter::default();
        assert!(waiter.enqueue(&limit));
        limit.set_limit(Some(3));
        assert!(ready(&mut waiter).is_none());
        limit.set_limit(Some(4));
        assert!(ready(&mut waiter).is_some());
        drop(held);
        assert_eq!(limit.in_use(), 0);
    }

    #[test]
    fn queue_length_is_bounded() {
        let limit = ConcurrencyLimit::new(Some(1));
        let _held = limit.try_acquire();
        let mut queue: Vec<Waiter> = (0..MAX_QUEUE).map(|_| Waiter::default()).collect();
        assert!(queue.iter_mut().all(|waiter| waiter.enqueue(&limit)));
        assert!(!Waiter::default().enqueue(&limit));
        queue.pop();
        assert!(Waiter::default().enqueue(&limit));
    }

    #[test]
    fn threads_never_hold_more_permits_than_the_limit() {
        let (limit, most) = (ConcurrencyLimit::new(Some(3)), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let mut waiter = Waiter::default();
                        let held = limit.try_acquire().or_else(|| {
                            waiter.enqueue(&limit);
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
        assert_eq!(limit.in_use(), 0);
        assert!(limit.is_free());
    }
}
