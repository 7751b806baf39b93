//! Progress on stderr. A terminal shows a bar with the state of the stage; anything else, such as
//! the log of a batch job, gets a line when a stage begins and then at most one a minute. Both get
//! one line when a stage ends.
//!
//! A thread of its own keeps the display alive while nothing is reported.

mod rate;
mod stage;

use std::{
    io::{IsTerminal as _, stderr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::error;
use crate::{pipeline::Event, verbosity};
use stage::Stage;

/// How often the display is renewed.
const TICK: Duration = Duration::from_millis(500);
/// The time between two lines of a log.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Work that reports nothing is named in a log if it takes longer than this.
const WAIT_NAMED_AFTER: Duration = Duration::from_secs(3);

/// Shows the events of one stage after another.
pub(super) struct Progress {
    /// `None`: nothing is shown.
    display: Option<Arc<Mutex<Display>>>,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        if quiet {
            return Self { display: None };
        }
        let display = Arc::new(Mutex::new(Display::new(stderr().is_terminal())));
        keep_alive(Arc::downgrade(&display));
        Self { display: Some(display) }
    }

    /// Shows `event`.
    pub(super) fn show(&mut self, event: Event) {
        if let Some(display) = &self.display {
            let mut display = locked(display);
            let now = display.clock.elapsed();
            let lines = display.lines(event, now);
            display.print(&lines);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(display) = &self.display {
            locked(display).clear();
        }
    }
}

/// Renews the display as long as it is there.
fn keep_alive(display: Weak<Mutex<Display>>) {
    let renew = move || {
        while let Some(display) = display.upgrade() {
            let mut guard = locked(&display);
            let now = guard.clock.elapsed();
            let lines = guard.tick(now);
            guard.print(&lines);
            drop(guard);
            drop(display);
            thread::sleep(TICK);
        }
    };
    // Without the thread, the display changes only with the events.
    let _ = thread::Builder::new().name("progress".to_owned()).spawn(renew);
}

fn locked(display: &Mutex<Display>) -> MutexGuard<'_, Display> {
    display.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is shown, and when. Moments count from `clock`.
struct Display {
    clock: Instant,
    stage: Stage,
    /// When the work began that the next [`Event::End`] ends: one stage or several in a row.
    opened: Option<Duration>,
    /// Items of those stages that were resumed.
    resumed: usize,
    /// Work that reports nothing until it is done, and whether a log names it already.
    waiting: Option<(String, Duration, bool)>,
    output: Output,
}

enum Output {
    Terminal { bar: Option<ProgressBar> },
    Log { last: Duration },
}

impl Display {
    fn new(terminal: bool) -> Self {
        let output = match terminal {
            true => Output::Terminal { bar: None },
            false => Output::Log { last: Duration::ZERO },
        };
        Self {
            clock: Instant::now(),
            stage: Stage::default(),
            opened: None,
            resumed: 0,
            waiting: None,
            output,
        }
    }

    /// Takes note of `event`; the lines to print because of it.
    fn lines(&mut self, event: Event, now: Duration) -> Vec<String> {
        if self.waiting.take().is_some() {
            self.clear();
        }
        match event {
            Event::Begin { stage, total, resumed } => {
                return self.begin(stage, total, resumed, now);
            }
            Event::Wait { what } => self.wait(what, now),
            Event::Reading { items } => self.stage.read(items, now),
            Event::Partly { items } => self.stage.partly(items, now),
            Event::Advance { items, rejected, tokens } => {
                self.stage.advance(items, rejected, tokens, now);
            }
            Event::End { summary } => return vec![self.end(&summary, now)],
            Event::Warning { message, hint } => {
                return vec![error::render_warning(&message, hint.as_deref())];
            }
            Event::Note(text) => return vec![text],
            Event::Fact(text) if verbosity::facts() => return vec![text],
            Event::Text { what, text } if verbosity::texts() => {
                return vec![format!("{what}: {text}")];
            }
            Event::Fact(_) | Event::Text { .. } => {}
        }
        self.tick(now)
    }

    /// Renews the bar, or gives the line of a log that is due.
    fn tick(&mut self, now: Duration) -> Vec<String> {
        let Self { stage, output, waiting, resumed, .. } = self;
        match output {
            Output::Terminal { bar: Some(bar) } if waiting.is_none() => {
                let (done, total) = stage.position();
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                bar.set_message(stage.notes(*resumed, now).join(", "));
            }
            Output::Terminal { bar } => bar.iter().for_each(ProgressBar::tick),
            Output::Log { last } => {
                let since = now.saturating_sub(*last);
                let line = match waiting {
                    Some((what, from, named)) => {
                        let waited = now.saturating_sub(*from);
                        let due = !*named && waited >= WAIT_NAMED_AFTER;
                        *named |= due;
                        (due || since >= LOG_EVERY && waited >= LOG_EVERY)
                            .then(|| format!("{what} …"))
                    }
                    None => (self.opened.is_some() && since >= LOG_EVERY)
                        .then(|| stage.status_line(*resumed, now)),
                };
                if line.is_some() {
                    *last = now;
                }
                return line.into_iter().collect();
            }
        }
        Vec::new()
    }

    fn begin(
        &mut self,
        name: &'static str,
        total: usize,
        resumed: usize,
        now: Duration,
    ) -> Vec<String> {
        // A stage that works in rounds begins several times.
        let new = self.stage.name != name;
        if new {
            self.stage = Stage::new(name);
        }
        self.opened.get_or_insert(now);
        self.resumed += resumed;
        self.stage.begin(total, resumed, now);
        match &mut self.output {
            Output::Terminal { bar } => {
                if let Some(old) = bar.take() {
                    old.finish_and_clear();
                }
                let bar_style = style("{prefix:>9} {bar:28} {pos}/{len} {msg}");
                *bar = Some(ProgressBar::new(total as u64).with_style(bar_style).with_prefix(name));
            }
            Output::Log { last } if new => {
                *last = now;
                return vec![self.stage.start_line()];
            }
            Output::Log { .. } => {}
        }
        self.tick(now)
    }

    fn wait(&mut self, what: String, now: Duration) {
        if let Output::Terminal { bar } = &mut self.output {
            let spinner = ProgressBar::new_spinner().with_style(style("{spinner:>9} {msg}"));
            *bar = Some(spinner.with_message(what.clone()));
        }
        self.waiting = Some((what, now, false));
    }

    fn end(&mut self, summary: &str, now: Duration) -> String {
        self.clear();
        let resumed = match self.resumed {
            0 => String::new(),
            count => format!(", {count} resumed"),
        };
        let opened = self.opened.take().unwrap_or(now);
        let seconds = now.saturating_sub(opened).as_secs_f64();
        let line = format!("{:>9}  {summary}  [{seconds:.1} s{resumed}]", self.stage.name);
        self.stage = Stage::default();
        self.resumed = 0;
        line
    }

    /// Prints lines above the bar.
    fn print(&self, lines: &[String]) {
        let print = || lines.iter().for_each(|line| eprintln!("{line}"));
        match &self.output {
            Output::Terminal { bar: Some(bar) } if !lines.is_empty() => bar.suspend(print),
            _ => print(),
        }
    }

    /// Removes the bar.
    fn clear(&mut self) {
        if let Output::Terminal { bar } = &mut self.output
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The log of `events` at their seconds; every half second in between the display is renewed.
    fn log(events: Vec<(u64, Event)>) -> Vec<(u64, String)> {
        let mut display = Display::new(false);
        let (mut lines, mut half_seconds) = (Vec::new(), 0);
        for (second, event) in events {
            while half_seconds < 2 * second {
                let found = display.tick(TICK * half_seconds as u32);
                lines.extend(found.into_iter().map(|line| (half_seconds / 2, line)));
                half_seconds += 1;
            }
            let found = display.lines(event, Duration::from_secs(second));
            lines.extend(found.into_iter().map(|line| (second, line)));
        }
        lines
    }

    fn begin(stage: &'static str, total: usize) -> Event {
        Event::Begin { stage, total, resumed: 0 }
    }

    #[test]
    fn a_log_gets_a_line_at_the_start_of_a_stage_and_then_one_a_minute() {
        let mut events = vec![(0, begin("generate", 100)), (0, Event::Reading { items: 0 })];
        events.push((70, Event::Reading { items: 4 }));
        // Nothing for two minutes, then an answer every second.
        let answer = Event::Advance { items: 1, rejected: 0, tokens: 0 };
        events.extend((0..70).map(|n| (130 + n, answer.clone())));
        events.push((200, begin("generate", 20)));
        events.push((201, Event::End { summary: "done".to_owned() }));
        events.push((400, begin("train", 3)));
        let lines = log(events);
        let expected = [
            (0, " generate  started, 100 to do"),
            (60, " generate  0/100, reading prompts 0/100"),
            (120, " generate  0/100, reading prompts 4/100"),
            (180, " generate  51/100, 3 min left"),
            (201, " generate  done  [201.0 s]"),
            (400, "    train  started, 3 to do"),
        ];
        let lines: Vec<(u64, &str)> = lines.iter().map(|(at, line)| (*at, line.as_str())).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_log_names_what_takes_long_and_nothing_else() {
        let wait = |what: &str| Event::Wait { what: what.to_owned() };
        let lines = log(vec![
            (0, wait("loading a")),
            (2, Event::Fact("loaded".to_owned())),
            (100, wait("loading b")),
            (300, begin("generate", 1)),
        ]);
        let lines: Vec<(u64, &str)> = lines.iter().map(|(at, line)| (*at, line.as_str())).collect();
        assert_eq!(
            lines,
            [
                (103, "loading b …"),
                (163, "loading b …"),
                (223, "loading b …"),
                (283, "loading b …"),
                (300, " generate  started, 1 to do"),
            ]
        );
    }
}
