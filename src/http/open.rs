//! The connections that are open.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::listener::Stream;

/// All open connections by number, the oldest first.
#[derive(Default)]
pub(super) struct Open {
    places: Mutex<Places>,
    /// A connection has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Places {
    next: u64,
    by_number: BTreeMap<u64, Arc<Place>>,
}

/// An open connection. It leaves [`Open`] when this is dropped, also by a panic.
pub(super) struct Entry {
    open: Arc<Open>,
    number: u64,
    pub place: Arc<Place>,
}

/// What others may know of a connection.
pub(super) struct Place {
    stream: Stream,
    /// Whether it waits for a request.
    is_idle: AtomicBool,
    /// Whether it was asked to make room.
    is_leaving: AtomicBool,
}

impl Place {
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(super) fn set_idle(&self, is_idle: bool) {
        self.is_idle.store(is_idle, Ordering::Release);
    }

    /// Ends it if it waits for a request and was not ended so before.
    fn leave(&self) -> bool {
        let leaves =
            self.is_idle.load(Ordering::Acquire) && !self.is_leaving.swap(true, Ordering::AcqRel);
        if leaves {
            self.stream.end_reading();
        }
        leaves
    }
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of connections.
    pub(super) fn count(&self) -> usize {
        self.lock().by_number.len()
    }

    /// Takes a connection in if there are fewer than `most`, or if one that waits for a request
    /// makes room.
    ///
    /// # Errors
    /// The connection itself: there is no room.
    pub(super) fn enter(self: &Arc<Self>, stream: Stream, most: usize) -> Result<Entry, Stream> {
        let mut places = self.lock();
        if places.by_number.len() >= most && !places.by_number.values().any(|it| it.leave()) {
            return Err(stream);
        }
        let (is_idle, is_leaving) = (AtomicBool::new(true), AtomicBool::new(false));
        let place = Arc::new(Place { stream, is_idle, is_leaving });
        let number = places.next;
        places.next += 1;
        places.by_number.insert(number, Arc::clone(&place));
        Ok(Entry { open: Arc::clone(self), number, place })
    }

    /// Ends the connections that wait for a request, until none is left or `patience` is over.
    /// Returns how many are left.
    pub(super) fn drain(&self, patience: Duration) -> usize {
        let deadline = Instant::now() + patience;
        let mut places = self.lock();
        loop {
            for place in places.by_number.values() {
                place.leave();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if places.by_number.is_empty() || left.is_zero() {
                return places.by_number.len();
            }
            // Some become idle without ending.
            let step = left.min(Duration::from_millis(20));
            (places, _) =
                self.ended.wait_timeout(places, step).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.open.lock().by_number.remove(&self.number);
        self.open.ended.notify_all();
    }
}
