//! Progress on stderr: a bar while a stage runs, one line when it ends. Bars are drawn only if
//! stderr is a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::error;
use crate::{pipeline::Event, verbosity};

/// Draws the events of one stage after another.
pub(super) struct Progress {
    quiet: bool,
    bar: Option<ProgressBar>,
    stage: &'static str,
    /// When the stage began, for rates.
    started: Instant,
    /// When the work began that the next [`Event::End`] ends: one stage or several in a row.
    opened: Option<Instant>,
    resumed: usize,
    rejected: usize,
    tokens: usize,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            bar: None,
            stage: "",
            started: Instant::now(),
            opened: None,
            resumed: 0,
            rejected: 0,
            tokens: 0,
        }
    }

    /// Shows `event`.
    pub(super) fn show(&mut self, event: Event) {
        if self.quiet {
            return;
        }
        match event {
            Event::Begin { stage, total, resumed } => self.begin(stage, total, resumed),
            Event::Advance { items, rejected, tokens } => self.advance(items, rejected, tokens),
            Event::End { summary } => self.end(&summary),
            Event::Warning { message, hint } => {
                self.print(&error::render_warning(&message, hint.as_deref()));
            }
            Event::Note(text) => self.print(&text),
            Event::Fact(text) if verbosity::facts() => self.print(&text),
            Event::Text { what, text } if verbosity::texts() => {
                self.print(&format!("{what}: {text}"));
            }
            Event::Fact(_) | Event::Text { .. } => {}
        }
    }

    /// Prints a line above the bar.
    fn print(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    fn begin(&mut self, stage: &'static str, total: usize, resumed: usize) {
        // A stage that works in rounds begins several times.
        if self.stage != stage {
            (self.rejected, self.tokens) = (0, 0);
            self.started = Instant::now();
        }
        self.opened.get_or_insert_with(Instant::now);
        self.stage = stage;
        self.resumed += resumed;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let style =
            ProgressStyle::with_template("{prefix:>9} {bar:28} {pos}/{len} {msg} {eta:>4} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(total as u64).with_style(style).with_prefix(stage);
        bar.set_position(resumed as u64);
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bar = Some(bar);
        self.advance(0, 0, 0);
    }

    fn advance(&mut self, items: usize, rejected: usize, tokens: usize) {
        self.rejected += rejected;
        self.tokens += tokens;
        let Some(bar) = &self.bar else { return };
        bar.inc(items as u64);
        let mut notes = Vec::new();
        if self.resumed > 0 {
            notes.push(format!("{} resumed", self.resumed));
        }
        if self.rejected > 0 {
            notes.push(format!("{} rejected", self.rejected));
        }
        if self.tokens > 0 {
            let rate = self.tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
            notes.push(format!("{rate:.0} tok/s"));
        }
        bar.set_message(notes.join(", "));
    }

    fn end(&mut self, summary: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let resumed = match self.resumed {
            0 => String::new(),
            count => format!(", {count} resumed"),
        };
        let seconds = self.opened.take().map_or(0.0, |opened| opened.elapsed().as_secs_f64());
        eprintln!("{:>9}  {summary}  [{seconds:.1} s{resumed}]", self.stage);
        self.stage = "";
        self.resumed = 0;
    }
}
