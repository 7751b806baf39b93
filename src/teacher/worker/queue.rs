//! Which request is asked of which worker, and what becomes of the requests that a worker died on.
//! Knows nothing of processes.
//!
//! A death casts suspicion on the requests that were begun and not answered. They are tried once more
//! together, since most deaths have nothing to do with them; if that ends in a death too, each one is
//! tried alone. What kills a worker again and again alone is poison and not asked any more. Requests
//! that were never begun simply go on. An answered request is never asked again.

use std::collections::{HashSet, VecDeque};

/// How a piece of work is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    Fresh,
    /// Suspects, for the second time.
    Together,
    /// One suspect in a call of its own.
    Alone,
}

/// Requests for one call of one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkItem {
    /// Which requests, in the order in which they are sent.
    pub requests: Vec<usize>,
    trial: Trial,
}

/// Requests that are waiting, in work, or answered.
pub(super) struct Queue {
    waiting: VecDeque<WorkItem>,
    answered: Vec<bool>,
    open: usize,
    /// Deaths of a worker that had this request alone.
    deaths: Vec<u8>,
}

impl Queue {
    /// All requests 0..`order.len()` are to be asked, in the given `order`, in contiguous pieces of
    /// at most `size`.
    pub(super) fn new(order: &[usize], size: usize) -> Self {
        let piece =
            |requests: &[usize]| WorkItem { requests: requests.to_vec(), trial: Trial::Fresh };
        Self {
            waiting: order.chunks(size.max(1)).map(piece).collect(),
            answered: vec![false; order.len()],
            open: order.len(),
            deaths: vec![0; order.len()],
        }
    }

    /// The next piece of work, if any is waiting.
    pub(super) fn next(&mut self) -> Option<WorkItem> {
        self.waiting.pop_front()
    }

    /// Whether a piece of work is waiting.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether every request has been answered or given up.
    pub(super) fn is_done(&self) -> bool {
        self.open == 0
    }

    /// Notes an answer; false if there is one already.
    pub(super) fn answer(&mut self, request: usize) -> bool {
        let first = !self.answered[request];
        self.open -= usize::from(first);
        self.answered[request] = true;
        first
    }

    /// Requests of `piece` without an answer.
    pub(super) fn unanswered(&self, piece: &WorkItem) -> Vec<usize> {
        piece.requests.iter().copied().filter(|request| !self.answered[*request]).collect()
    }

    /// A worker died over `piece`, having begun with `begun`. A request that was alone in as many
    /// deaths as `patience` says is given up and returned; the others are waiting again.
    pub(super) fn died(
        &mut self,
        piece: &WorkItem,
        begun: &HashSet<usize>,
        patience: u8,
    ) -> Option<usize> {
        let left = self.unanswered(piece);
        let (suspects, rest): (Vec<usize>, Vec<usize>) =
            left.iter().partition(|request| begun.contains(request));
        match (piece.trial, &left[..]) {
            (_, []) => {}
            (Trial::Alone, [request, ..]) => {
                self.deaths[*request] += 1;
                if self.deaths[*request] >= patience {
                    self.answer(*request);
                    return Some(*request);
                }
                self.push(left, Trial::Alone);
            }
            // It died before it said with what: any of them may be the reason.
            (Trial::Fresh, _) if suspects.is_empty() => self.push(left, Trial::Together),
            (Trial::Together, _) if suspects.is_empty() => {
                let (front, back) = left.split_at(left.len().div_ceil(2));
                self.push(back.to_vec(), Trial::Together);
                self.push(front.to_vec(), Trial::Together);
            }
            (Trial::Fresh, _) => {
                self.push(rest, Trial::Fresh);
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

    fn whole(count: usize) -> Queue {
        Queue::new(&(0..count).collect::<Vec<_>>(), count)
    }

    /// A worker that dies whenever it begins with one of `bad`, `side` requests at a time. Returns
    /// what was given up and how many workers died.
    fn drive(queue: &mut Queue, bad: &[usize], side: usize, tells: bool) -> (Vec<usize>, usize) {
        let (mut given_up, mut dead, mut answers) = (Vec::new(), 0, HashSet::new());
        while let Some(piece) = queue.next() {
            let mut begun = HashSet::new();
            let mut died = false;
            for side in piece.requests.chunks(side) {
                if tells {
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
                given_up.extend(queue.died(&piece, &begun, 2));
            } else {
                assert!(queue.unanswered(&piece).is_empty());
            }
            assert!(dead < 200, "no end");
        }
        assert!(queue.is_done());
        (given_up, dead)
    }

    #[test]
    fn nothing_is_lost_without_deaths() {
        let mut queue = Queue::new(&[2, 0, 1], 2);
        assert_eq!(queue.next().unwrap().requests, [2, 0]);
        assert_eq!(queue.next().unwrap().requests, [1]);
        assert!(queue.next().is_none() && !queue.is_done());
        assert!(queue.answer(0) && !queue.answer(0));
    }

    #[test]
    fn the_poison_is_found_and_all_others_are_answered() {
        for (bad, side) in [(vec![5], 1), (vec![5], 4), (vec![4, 6, 19], 4), (vec![0, 19], 16)] {
            let (given_up, dead) = drive(&mut whole(20), &bad, side, true);
            assert_eq!(given_up, bad);
            // Once with all others, once with its neighbours, twice alone.
            assert!(dead <= 4 * bad.len(), "{dead}");
        }
    }

    #[test]
    fn a_worker_that_never_says_what_it_begins_is_narrowed_down() {
        let (given_up, dead) = drive(&mut whole(1000), &[77], 16, false);
        assert_eq!(given_up, [77]);
        assert!(dead < 16, "{dead}");
    }

    #[test]
    fn a_death_from_outside_costs_no_request() {
        let mut queue = whole(10);
        let piece = queue.next().unwrap();
        queue.answer(0);
        assert_eq!(queue.died(&piece, &HashSet::from([0, 1, 2]), 2), None);
        // First the suspects again, then what was never begun.
        assert_eq!(queue.next().unwrap().requests, [1, 2]);
        assert_eq!(queue.next().unwrap().requests, (3..10).collect::<Vec<_>>());
    }
}
