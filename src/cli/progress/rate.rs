//! How fast the work of the last minutes went, and when the rest will be done.
//!
//! A rate since the start of a stage is wrong for hours: prompts are read before the first answer,
//! and a machine is faster at night. Only the last [`WINDOW`] counts.
//!
//! Answers come in waves, since the engine works on many requests at a time. A request that has
//! begun therefore counts as half done; otherwise the first answer of a wave would promise a
//! multiple of the true time, and the last one a fraction.

use std::{collections::VecDeque, time::Duration};

/// What is forgotten: older than this.
const WINDOW: Duration = Duration::from_secs(180);
/// No estimate before the work took this long.
const LEAST: Duration = Duration::from_secs(3);
/// Samples are at least this far apart, so that there are at most a few hundred.
const STEP: Duration = Duration::from_millis(500);

/// The state of a stage at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// Since any fixed moment.
    pub at: Duration,
    /// Items finished since the stage began, without those that were resumed, and measured shares
    /// of others.
    pub done: f64,
    /// Items that are being worked on without a measured share.
    pub running: usize,
    /// Tokens since the stage began.
    pub tokens: usize,
}

impl Sample {
    /// Items of work, finished and half finished.
    fn work(&self) -> f64 {
        self.done + self.running as f64 / 2.0
    }
}

/// The samples of the last minutes.
#[derive(Debug, Clone, Default)]
pub(super) struct Rate {
    samples: VecDeque<Sample>,
    /// When an item was finished last. The window ends there: a pause makes the estimate longer,
    /// but it does not push out what was finished before.
    finished: Duration,
}

impl Rate {
    /// Notes the state at a moment that is not before any other one.
    pub(super) fn note(&mut self, sample: Sample) {
        let count = self.samples.len();
        if self.samples.back().is_some_and(|last| last.done < sample.done) {
            self.finished = sample.at;
        }
        // The last sample moves until it is a step away from the one before.
        if count >= 2 && sample.at.saturating_sub(self.samples[count - 2].at) < STEP {
            self.samples[count - 1] = sample;
        } else {
            self.samples.push_back(sample);
        }
        // The newest sample that is older than the window stays: it is where the window begins.
        while self.samples.len() > 2 && self.finished.saturating_sub(self.samples[1].at) >= WINDOW {
            self.samples.pop_front();
        }
    }

    /// Seconds until `remaining` items, the running ones included, are done; `None` as
    /// long as nothing is known. `now` is not before the last sample.
    pub(super) fn seconds_left(&self, remaining: f64, now: Duration) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let elapsed = now.saturating_sub(first.at);
        // Work that only began proves nothing.
        if last.done <= first.done || elapsed < LEAST {
            return None;
        }
        let work = last.work() - first.work();
        let left = remaining - last.running as f64 / 2.0;
        (work > 0.0).then(|| left.max(0.0) * elapsed.as_secs_f64() / work)
    }

    /// Tokens per second.
    pub(super) fn tokens_per_second(&self, now: Duration) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = now.saturating_sub(first.at).as_secs_f64();
        (last.tokens > first.tokens && seconds > 0.0)
            .then(|| (last.tokens - first.tokens) as f64 / seconds)
    }
}

/// `seconds` in words, as coarse as an estimate is: `40 s`, `12 min`, `3 h 20 min`, `4 days`.
pub(super) fn coarse(seconds: f64) -> String {
    const MINUTE: f64 = 60.0;
    const HOUR: f64 = 60.0 * MINUTE;
    const DAY: f64 = 24.0 * HOUR;
    match seconds {
        s if s < 10.0 => format!("{} s", s.ceil().max(1.0)),
        s if s < 1.5 * MINUTE => format!("{} s", 5.0 * (s / 5.0).round()),
        s if s < 90.0 * MINUTE => format!("{} min", (s / MINUTE).round()),
        s if s < 10.0 * HOUR => {
            let tens = (s / (10.0 * MINUTE)).round() as u64;
            match (tens / 6, 10 * (tens % 6)) {
                (hours, 0) => format!("{hours} h"),
                (hours, minutes) => format!("{hours} h {minutes} min"),
            }
        }
        s if s < 2.0 * DAY => format!("{} h", (s / HOUR).round()),
        s if s < 100.0 * DAY => format!("{} days", (s / DAY).round()),
        _ => "more than 100 days".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes (seconds, done, running) one after the other and asks at the last moment, or at `now`.
    fn left(samples: &[(u64, usize, usize)], total: usize, now: Option<u64>) -> Option<f64> {
        let mut rate = Rate::default();
        for &(at, done, running) in samples {
            let (at, done) = (Duration::from_secs(at), done as f64);
            rate.note(Sample { at, done, running, tokens: 0 });
        }
        let &(at, done, _) = samples.last().unwrap();
        rate.seconds_left((total - done) as f64, Duration::from_secs(now.unwrap_or(at)))
    }

    #[test]
    fn nothing_is_promised_before_the_first_answer() {
        assert_eq!(left(&[(0, 0, 0)], 32, Some(100)), None);
        assert_eq!(left(&[(0, 0, 0), (1, 0, 3), (9, 0, 16)], 32, Some(100)), None);
        assert_eq!(left(&[(0, 0, 0), (1, 1, 0)], 32, Some(1)), None, "too early");
    }

    #[test]
    fn a_steady_pace_gives_the_exact_time() {
        let steady: Vec<_> = (0..=60).map(|n| (2 * n, n as usize, 0)).collect();
        assert_eq!(left(&steady, 100, None), Some(80.0));
    }

    #[test]
    fn only_the_last_minutes_count() {
        // One in 100 s for 1,000 s, then one a second for 10 minutes.
        let slow = (0..=10).map(|n| (100 * n, n as usize, 0));
        let fast = (1..=600).map(|n| (1000 + n, 10 + n as usize, 0));
        let samples: Vec<_> = slow.chain(fast).collect();
        let seconds = left(&samples, 1010, None).unwrap();
        assert!((395.0..405.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn the_first_answer_of_a_wave_does_not_multiply_the_time() {
        // 16 at a time, each wave takes 160 s and ends within 32 s: 320 take 20 waves, 3,200 s.
        let begun = (0, 0, 0);
        for answers in 1..=16 {
            let at = 128 + 2 * answers as u64;
            let samples = [begun, (1, 0, 16), (at, answers, 16)];
            let seconds = left(&samples, 320, None).unwrap();
            assert!((1900.0..5000.0).contains(&seconds), "{answers} answers: {seconds}");
        }
    }

    #[test]
    fn a_pause_lengthens_the_estimate_slowly_and_never_without_bound() {
        let steady: Vec<_> = (0..=180).map(|n| (n, n as usize, 0)).collect();
        let before = left(&steady, 360, None).unwrap();
        assert_eq!(before, 180.0);
        // Nothing for ten minutes: 180 items took 780 s.
        assert_eq!(left(&steady, 360, Some(780)), Some(780.0));
        // A sample that says that nothing was finished changes nothing.
        let paused = [&steady[..], &[(780, 180, 0)]].concat();
        assert_eq!(left(&paused, 360, Some(780)), Some(780.0));
    }

    #[test]
    fn many_samples_take_little_memory() {
        let mut rate = Rate::default();
        for n in 0..1_000_000 {
            let at = Duration::from_millis(n);
            rate.note(Sample { at, done: n as f64, running: 0, tokens: 3 * n as usize });
        }
        assert!(rate.samples.len() < 800, "{}", rate.samples.len());
        let now = Duration::from_millis(999_999);
        assert!((rate.seconds_left(1000.0, now).unwrap() - 1.0).abs() < 0.01);
        assert!((rate.tokens_per_second(now).unwrap() - 3000.0).abs() < 10.0);
    }

    #[test]
    fn times_are_as_coarse_as_estimates() {
        let day = 86_400.0;
        let times = [0.0, 9.2, 42.0, 100.0, 720.0, 12_000.0, 7_000.0, 40_000.0, 4.0 * day, 1e12];
        let words = times.map(coarse);
        let wanted = [
            "1 s",
            "10 s",
            "40 s",
            "2 min",
            "12 min",
            "3 h 20 min",
            "2 h",
            "11 h",
            "4 days",
            "more than 100 days",
        ];
        assert_eq!(words, wanted);
        assert_eq!(coarse(f64::INFINITY), "more than 100 days");
    }
}
