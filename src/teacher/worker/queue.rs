//! Decides which requests are sent to which worker, and what happens to the requests that a worker
//! ended on. It knows nothing of processes.
//!
//! When a worker ends, the requests that it had begun and not answered are suspects. They are tried
//! once more together, since most crashes have nothing to do with them. If the worker ends again,
//! each suspect is tried alone. A request that ends its worker alone, again and again, is skipped.
//! Requests that were never begun are simply sent again; an answered request is never sent again.

use std::collections::{HashSet, VecDeque};

/// How the requests of a work item are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    First,
    /// Suspects, together, for the second time.
    Together,
    /// One suspect alone.
    Alone,
}

/// Requests for one call of one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkItem {
    /// The indices of the requests, in the order in which they are sent.
    pub requests: Vec<usize>,
    trial: Trial,
}

/// The state of all requests: waiting, in progress, or answered.
pub(super) struct WorkQueue {
    waiting: VecDeque<WorkItem>,
    answered: Vec<bool>,
    /// Number of requests that are not answered.
    open: usize,
    /// How often a worker ended on each request alone.
    deaths: Vec<u8>,
}

impl WorkQueue {
    /// Queues all requests 0..`order.len()` in the given `order`, in work items of at most `size`.
    pub(super) fn new(order: &[usize], size: usize) -> Self {
        let item =
            |requests: &[usize]| WorkItem { requests: requests.to_vec(), trial: Trial::First };
        Self {
            waiting: order.chunks(size.max(1)).map(item).collect(),
            answered: vec![false; order.len()],
            open: order.len(),
            deaths: vec![0; order.len()],
        }
    }

    /// The next work item, if one is waiting.
    pub(super) fn next(&mut self) -> Option<WorkItem> {
        self.waiting.pop_front()
    }

    /// Whether a work item is waiting.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether every request has been answered or skipped.
    pub(super) fn is_done(&self) -> bool {
        self.open == 0
    }

    /// Records an answer. Returns false if the request already has one.
    pub(super) fn answer(&mut self, request: usize) -> bool {
        let first = !self.answered[request];
        self.open -= usize::from(first);
        self.answered[request] = true;
        first
    }

    /// Requests of `item` without an answer.
    pub(super) fn unanswered(&self, item: &WorkItem) -> Vec<usize> {
        item.requests.iter().copied().filter(|request| !self.answered[*request]).collect()
    }

    /// Records that a worker ended on `item`, of which it had begun the requests `begun`. A request
    /// that was alone in `max_deaths` such ends is skipped and returned; the others are queued
    /// again.
    pub(super) fn died(
        &mut self,
        item: &WorkItem,
        begun: &HashSet<usize>,
        max_deaths: u8,
    ) -> Option<usize> {
        let left = self.unanswered(item);
        let (suspects, rest): (Vec<usize>, Vec<usize>) =
            left.iter().partition(|request| begun.contains(request));
        match (item.trial, &left[..]) {
            (_, []) => {}
            (Trial::Alone, [request, ..]) => {
                self.deaths[*request] += 1;
                if self.deaths[*request] >= max_deaths {
                    self.answer(*request);
                    return Some(*request);
                }
                self.push(left, Trial::Alone);
            }
            // It ended before it reported what it began, so any of them may be the cause.
            (Trial::First, _) if suspects.is_empty() => self.push(left, Trial::Together),
            (Trial::Together, _) if suspects.is_empty() => {
                let (front, back) = left.split_at(left.len().div_ceil(2));
                self.push(back.to_vec(), Trial::Together);
                self.push(front.to_vec(), Trial::Together);
            }
            (Trial::First, _) => {
                self.push(rest, Trial::First);
                self.push(suspects, Trial::Together);
            }
            (Trial::Together, _) => {
                self.push(rest, Trial::Together);
                for suspect in suspects.into_iter().rev() {
                    self.push(vec![suspect], Trial::Alone);
                }
            }
        }
        None
    }

    /// Puts requests at the front of the queue.
    fn push(&mut self, requests: Vec<usize>, trial: Trial) {
        let trial =
            if trial == Trial::Together && requests.len() == 1 { Trial::Alone } else { trial };
        if !requests.is_empty() {
            self.waiting.push_front(WorkItem { requests, trial });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(count: usize) -> WorkQueue {
        WorkQueue::new(&(0..count).collect::<Vec<_>>(), count)
    }

    /// Simulates a worker that begins `slots` requests at a time and ends whenever one of them is
    /// `bad`. If `reports`, it tells which requests it begins. Returns the skipped requests and the
    /// number of workers that ended.
    fn drive(
        queue: &mut WorkQueue,
        bad: &[usize],
        slots: usize,
        reports: bool,
    ) -> (Vec<usize>, usize) {
        let (mut skipped, mut dead, mut answers) = (Vec::new(), 0, HashSet::new());
        while let Some(item) = queue.next() {
            let mut begun = HashSet::new();
            let mut died = false;
            for side in item.requests.chunks(slots) {
                if reports {
                    begun.extend(side.iter().copied());
                }
                died = side.iter().any(|request| bad.contains(request));
                if died {
                    break;
                }
                for request in side {
                    assert!(queue.answer(*request) && answers.insert(*request), "asked twice");
                }
            }
            if died {
                dead += 1;
                skipped.extend(queue.died(&item, &begun, 2));
            } else {
                assert!(queue.unanswered(&item).is_empty());
            }
            assert!(dead < 200, "no end");
        }
        assert!(queue.is_done());
        (skipped, dead)
    }

    #[test]
    fn nothing_is_lost_without_deaths() {
        let mut queue = WorkQueue::new(&[2, 0, 1], 2);
        assert_eq!(queue.next().unwrap().requests, [2, 0]);
        assert_eq!(queue.next().unwrap().requests, [1]);
        assert!(queue.next().is_none() && !queue.is_done());
        assert!(queue.answer(0) && !queue.answer(0));
    }

    #[test]
    fn bad_requests_are_skipped_and_all_others_are_answered() {
        for (bad, slots) in [(vec![5], 1), (vec![5], 4), (vec![4, 6, 19], 4), (vec![0, 19], 16)] {
            let (skipped, dead) = drive(&mut whole(20), &bad, slots, true);
            assert_eq!(skipped, bad);
            // Once with all others, once with its neighbours, twice alone.
            assert!(dead <= 4 * bad.len(), "{dead}");
        }
    }

    #[test]
    fn a_bad_request_is_found_although_the_worker_reports_nothing() {
        let (skipped, dead) = drive(&mut whole(1000), &[77], 16, false);
        assert_eq!(skipped, [77]);
        assert!(dead < 16, "{dead}");
    }

    #[test]
    fn one_death_skips_no_request() {
        let mut queue = whole(10);
        let item = queue.next().unwrap();
        queue.answer(0);
        assert_eq!(queue.died(&item, &HashSet::from([0, 1, 2]), 2), None);
        // First the suspects again, then the requests that were never begun.
        assert_eq!(queue.next().unwrap().requests, [1, 2]);
        assert_eq!(queue.next().unwrap().requests, (3..10).collect::<Vec<_>>());
    }
}
