//! Whether nearly all that was run lately has failed: a sliding window of the last runs; pure.

/// How many of the last runs are looked at, never fewer.
pub(crate) const RUNS: u32 = 50;
/// How many of these have failed when the breaker opens: 90 %.
const MOST_FAILED: u32 = 45;
const ALL: u64 = (1 << RUNS) - 1;

/// Whether a processor slows its intake when nearly every run fails, as they do while something
/// that all of them need is down: else it would pour the stream into the dead-letter queue.
///
/// It opens when 45 of the last 50 runs have failed: with an error, a panic or a time-out. A
/// rejection, a discard or a deferral is an answer, and no failure; a message that fails again is not
/// counted again. So it stays closed where one message in two is bad.
///
/// Then nothing is taken in for a second, what has not started is handed back uncharged, and one
/// message is tried, a new one if there is one. While that fails too, which is charged as any
/// failure, the pause doubles, up to 30 s; half of each is left to chance. The first that comes back
/// with an answer closes it: full speed again, and nothing remembered. A run that ends by itself
/// waits for that, see [`Extent`](crate::Extent).
///
/// ```
/// use redrive::{Breaker, Broker, Message, Processor, Source};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let broker = Broker::connect("memory:").await?;
/// let processor = Processor::builder(&broker, Source::new("orders", "billing")?)
///     .breaker(Breaker::Off)
///     .build(async |_: Message<u32>| {})?;
/// assert_eq!(processor.options().breaker, Breaker::Off);
/// # Ok::<(), redrive::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breaker {
    /// It slows down.
    #[default]
    On,
    /// Every message is tried at once and as often as it may be, whatever became of the others.
    Off,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Failed,
    Answered,
}

/// How the last runs ended, a bit for each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    failed: u64,
    seen: u32,
}

impl Window {
    /// A run has ended. Answers how many of the last ones failed, if those are too many.
    pub(crate) fn note(&mut self, ended: Ended) -> Option<u32> {
        let bit = u64::from(ended == Ended::Failed);
        self.failed = (self.failed << 1 | bit) & ALL;
        self.seen = (self.seen + 1).min(RUNS);
        let failed = self.failed.count_ones();
        (self.seen == RUNS && failed >= MOST_FAILED).then_some(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many of these runs it opens, and how many of the last ones failed then.
    fn opens(runs: impl IntoIterator<Item = Ended>) -> Option<(usize, u32)> {
        let mut window = Window::default();
        let mut runs = runs.into_iter().enumerate();
        runs.find_map(|(i, ended)| Some((i + 1, window.note(ended)?)))
    }

    fn repeated(ended: Ended, times: usize) -> impl Iterator<Item = Ended> {
        std::iter::repeat_n(ended, times)
    }

    /// The examples of `docs/handlers.md`.
    #[test]
    fn it_opens_when_45_of_the_last_50_runs_have_failed() {
        use Ended::{Answered, Failed};
        let every = |n: usize, ended, other| {
            (1..=10_000).map(move |i: usize| if i.is_multiple_of(n) { ended } else { other })
        };
        for (what, opened, at) in [
            ("49 fail", opens(repeated(Failed, 49)), None),
            ("all fail", opens(repeated(Failed, 99)), Some((50, 50))),
            (
                "all fail after a long good time",
                opens(repeated(Answered, 10_000).chain(repeated(Failed, 99))),
                Some((10_045, 45)),
            ),
            (
                "a few good ones first",
                opens(repeated(Answered, 6).chain(repeated(Failed, 99))),
                Some((51, 45)),
            ),
            ("one in two", opens(every(2, Failed, Answered)), None),
            ("four in five", opens(every(5, Answered, Failed)), None),
            (
                "nine in ten",
                opens(every(10, Answered, Failed)),
                Some((50, 45)),
            ),
            (
                "one in a hundred",
                opens(every(100, Failed, Answered)),
                None,
            ),
        ] {
            assert_eq!(opened, at, "{what}");
        }
    }
}
