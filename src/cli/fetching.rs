//! The progress bar of a download, drawn on stderr if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{models::pull::Progress, printable::excerpt};

/// One bar, reused for one file after another.
pub(super) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    pub(super) fn new(quiet: bool) -> Self {
        let target =
            if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template(
            "{msg:>36!} {bar:28} {bytes}/{total_bytes} {bytes_per_sec} {eta:>4} left",
        );
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::with_draw_target(Some(0), target).with_style(style) }
    }
}

impl Progress for Bar {
    fn init(&mut self, size: usize, filename: &str) {
        self.bar.reset();
        self.bar.set_length(size as u64);
        self.bar.set_message(excerpt(filename));
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn update(&mut self, size: usize) {
        self.bar.inc(size as u64);
    }

    fn finish(&mut self) {
        self.bar.finish_and_clear();
    }
}
