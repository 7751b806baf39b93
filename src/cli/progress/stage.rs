//! What is known of the stage that runs, in words.

use std::time::Duration;

use super::rate::{Rate, Sample, coarse};

/// A stage while it runs. Moments count from the start of the command.
#[derive(Default)]
pub(super) struct Stage {
    pub name: &'static str,
    /// Items of this round, those included that were resumed.
    total: usize,
    /// Items of this round that were resumed.
    resumed: usize,
    /// Items finished in this round.
    done: usize,
    /// Items finished in all rounds, and their tokens.
    done_ever: usize,
    tokens: usize,
    rejected: usize,
    /// Prompts of this round that the teacher has begun to read; `None` for other work.
    reading: Option<usize>,
    /// Shares of the items that are worked on, in sum.
    shares: f64,
    rate: Rate,
}

impl Stage {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// A round begins; a stage has one or several.
    pub(super) fn begin(&mut self, total: usize, resumed: usize, now: Duration) {
        (self.total, self.resumed, self.done, self.reading) = (total, resumed, 0, None);
        self.shares = 0.0;
        self.note(now);
    }

    pub(super) fn read(&mut self, items: usize, now: Duration) {
        *self.reading.get_or_insert(0) += items;
        self.note(now);
    }

    pub(super) fn advance(&mut self, items: usize, rejected: usize, tokens: usize, now: Duration) {
        self.done += items;
        self.done_ever += items;
        self.rejected += rejected;
        self.tokens += tokens;
        self.note(now);
    }

    /// The items that are worked on are done by these shares in sum.
    pub(super) fn partly(&mut self, shares: f64, now: Duration) {
        self.shares = shares;
        self.note(now);
    }

    fn note(&mut self, at: Duration) {
        let running = self.reading.unwrap_or(0).saturating_sub(self.done);
        let (done, tokens) = (self.done_ever as f64 + self.shares, self.tokens);
        self.rate.note(Sample { at, done, running, tokens });
    }

    /// Items of this round that are finished or were resumed, and all of them.
    pub(super) fn position(&self) -> (usize, usize) {
        (self.resumed + self.done, self.total)
    }

    /// The line that says that the stage begins.
    pub(super) fn start_line(&self) -> String {
        let mut line = format!("{:>9}  started, {} to do", self.name, self.total - self.resumed);
        if self.resumed > 0 {
            line += &format!(", {} resumed", self.resumed);
        }
        line
    }

    /// The line of a log: where the stage is.
    pub(super) fn status_line(&self, resumed: usize, now: Duration) -> String {
        let (done, total) = self.position();
        let mut line = format!("{:>9}  {done}/{total}", self.name);
        for note in self.notes(resumed, now) {
            line += &format!(", {note}");
        }
        line
    }

    /// Where the stage is, besides [`Self::position`]; `resumed` counts the items of all stages
    /// that are reported together.
    pub(super) fn notes(&self, resumed: usize, now: Duration) -> Vec<String> {
        let mut notes = Vec::new();
        let remaining = self.total.saturating_sub(self.resumed + self.done);
        if self.done == 0 && remaining > 0 {
            notes.extend(self.reading.map(|read| format!("reading prompts {read}/{remaining}")));
        }
        if self.shares > 0.0 && self.total > 0 {
            let done = (self.resumed + self.done) as f64 + self.shares;
            notes.push(format!("{:.0} %", 100.0 * done / self.total as f64));
        }
        if resumed > 0 {
            notes.push(format!("{resumed} resumed"));
        }
        if self.rejected > 0 {
            notes.push(format!("{} rejected", self.rejected));
        }
        notes.extend(self.rate.tokens_per_second(now).map(|rate| format!("{rate:.0} tok/s")));
        if remaining > 0 {
            let left = self.rate.seconds_left(remaining as f64 - self.shares, now);
            notes.extend(left.map(|seconds| format!("{} left", coarse(seconds))));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn prompts_are_read_before_the_first_answer() {
        let mut stage = Stage::new("relabel");
        stage.begin(40, 8, at(0));
        assert_eq!(stage.start_line(), "  relabel  started, 32 to do, 8 resumed");
        stage.read(0, at(0));
        assert_eq!(stage.status_line(0, at(1)), "  relabel  8/40, reading prompts 0/32");
        stage.read(3, at(30));
        assert_eq!(stage.status_line(0, at(300)), "  relabel  8/40, reading prompts 3/32");
        stage.read(5, at(300));
        stage.advance(8, 1, 3200, at(320));
        assert_eq!(
            stage.status_line(8, at(320)),
            "  relabel  16/40, 8 resumed, 1 rejected, 11 tok/s, 18 min left"
        );
    }

    #[test]
    fn the_first_student_counts_before_it_is_trained() {
        let mut stage = Stage::new("train");
        stage.begin(15, 0, at(0));
        stage.partly(0.5, at(300));
        assert_eq!(stage.status_line(0, at(300)), "    train  0/15, 3 %, 2 h 30 min left");
        stage.partly(0.0, at(600));
        stage.advance(1, 0, 0, at(600));
        assert_eq!(stage.status_line(0, at(600)), "    train  1/15, 2 h 20 min left");
    }

    #[test]
    fn a_second_round_keeps_the_pace_and_starts_its_count_anew() {
        let mut stage = Stage::new("generate");
        stage.begin(10, 0, at(0));
        for second in 1..=10 {
            stage.advance(1, 0, 0, at(second));
        }
        assert_eq!(stage.notes(0, at(10)), Vec::<String>::new(), "nothing is left to do");
        stage.begin(5, 0, at(10));
        stage.read(5, at(10));
        assert_eq!(stage.position(), (0, 5));
        assert!(stage.notes(0, at(10)).contains(&"reading prompts 5/5".to_owned()));
        stage.advance(1, 0, 0, at(11));
        assert_eq!(stage.notes(0, at(11)), ["2 s left"]);
    }
}
