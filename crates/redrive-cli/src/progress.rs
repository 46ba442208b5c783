//! Progress of long work, on stderr, where somebody is watching.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::stderr;
use crate::terminal::note;

/// A bar, or nothing where stderr is no terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar of so many steps.
    pub(crate) fn new(what: &'static str, total: u64, quiet: Quiet) -> Self {
        let target = if quiet == Quiet::Yes || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self(bar)
    }

    /// Says something, above the bar where there is one.
    pub(crate) fn say(&self, text: &str) {
        if self.0.is_hidden() {
            return note(text);
        }
        self.0.suspend(|| {
            note(text);
            // Before the bar is drawn again.
            stderr::catch_up();
        });
    }

    /// So many are done.
    pub(crate) fn at(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Progress {
    /// Does what writes to the same terminal, with the bar out of the way.
    fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.suspend(work)
    }
}

/// A bar that is only there when the work takes longer than a moment.
pub(crate) struct Late {
    what: &'static str,
    quiet: Quiet,
    began: Instant,
    bar: Option<Progress>,
}

/// How long work may take before anybody wonders.
const A_MOMENT: Duration = Duration::from_secs(1);

impl Late {
    pub(crate) fn new(what: &'static str, quiet: Quiet) -> Self {
        Self {
            what,
            quiet,
            began: Instant::now(),
            bar: None,
        }
    }

    /// So far it has come.
    pub(crate) fn at(&mut self, done: redrive::Progress) {
        if self.bar.is_none() && done.examined < done.total && self.began.elapsed() > A_MOMENT {
            self.bar = Some(Progress::new(self.what, done.total, self.quiet));
        }
        if let Some(bar) = &self.bar {
            bar.at(done.examined);
        }
    }

    /// Does what writes to the same terminal.
    pub(crate) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.aside(work),
            None => work(),
        }
    }
}

impl Drop for Progress {
    /// Whatever ends the work, the line is free again.
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Whether nothing but errors is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quiet {
    Yes,
    No,
}
