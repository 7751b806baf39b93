//! How far the students are that are being trained: one takes hours on a slow machine.

use std::sync::{Mutex, PoisonError};

use crate::student::TrainStep;

/// A share is told when it grew by this much.
const STEP: f64 = 0.01;

/// The shares of all students that are being trained, in sum.
#[derive(Default)]
pub(super) struct Shares {
    sum: Mutex<f64>,
}

impl Shares {
    fn add(&self, change: f64) -> f64 {
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        // Rounding must not leave less than nothing.
        *sum = (*sum + change).max(0.0);
        *sum
    }
}

/// The share of one student. It leaves the sum when it is dropped.
pub(super) struct Share<'a> {
    shares: &'a Shares,
    told: f64,
}

impl<'a> Share<'a> {
    pub(super) fn new(shares: &'a Shares) -> Self {
        Self { shares, told: 0.0 }
    }

    /// Takes note of a step; the new sum, if it is worth telling.
    pub(super) fn advance(&mut self, step: &TrainStep) -> Option<f64> {
        let share = step.step as f64 / step.steps.max(1) as f64;
        let grown = share - self.told;
        (grown >= STEP).then(|| {
            self.told = share;
            self.shares.add(grown)
        })
    }

    /// Takes the share out of the sum, which is returned: the student is trained.
    pub(super) fn end(mut self) -> f64 {
        self.shares.add(-std::mem::take(&mut self.told))
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.shares.add(-self.told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: usize, steps: usize) -> TrainStep {
        let (epoch, epochs, loss) = (0, 1, 1.0);
        TrainStep { step, steps, epoch, epochs, loss, learning_rate: 1e-4, gradient_norm: 1.0 }
    }

    #[test]
    fn shares_are_summed_told_by_the_percent_and_given_back() {
        let shares = Shares::default();
        let (mut a, mut b) = (Share::new(&shares), Share::new(&shares));
        assert_eq!(a.advance(&step(250, 1000)), Some(0.25));
        assert_eq!(a.advance(&step(251, 1000)), None, "too little to tell");
        assert_eq!(b.advance(&step(5, 10)), Some(0.75));
        drop(a);
        assert_eq!(b.advance(&step(10, 10)), Some(1.0));
        assert_eq!(b.end(), 0.0);
    }
}
