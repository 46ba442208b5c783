//! The end of a worker: the first signal stops it politely, the second ends it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::signals::Signals;
use crate::stderr;

/// Runs what `run` makes of a signal to stop: the first of ours, or `max_time`.
///
/// # Errors
///
/// At the second signal, with its exit code: what ran is dropped. One that comes after the end ends
/// the process.
pub(super) async fn until_second<R: Future>(
    mut signals: Signals,
    stop: &Stop,
    max_time: Option<Duration>,
    run: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> R,
) -> Result<R::Output, Failure> {
    let (tell, told) = oneshot::channel();
    let stopping = stop.clone();
    let first = Box::pin(async move {
        tokio::select! {
            _ = told => {}
            _ = super::ended::over(max_time) => {}
        }
        stopping.begin();
    });
    let mut running = pin!(run(first));
    let by_itself = tokio::select! {
        ended = &mut running => Some(ended),
        _ = signals.recv() => None,
    };
    let asked = by_itself.is_none();
    let ended = match by_itself {
        Some(ended) => ended,
        None => {
            // Nobody listens when it stops already, for another reason.
            let _ = tell.send(());
            tokio::select! {
                ended = &mut running => ended,
                insisted = signals.recv() => return Err(Failure::silent(insisted.code())),
            }
        }
    };
    // What is still to be told may find a stdout that nobody reads.
    tokio::spawn(async move {
        if !asked {
            // It asks for what is done already.
            signals.recv().await;
        }
        let insisted = signals.recv().await;
        stderr::flush();
        std::process::exit(insisted.code() as i32);
    });
    Ok(ended)
}

/// The stop of a worker, as its handlers see it.
#[derive(Clone, Debug)]
pub(super) struct Stop(Arc<State>);

#[derive(Debug)]
struct State {
    drain: Duration,
    begun: OnceLock<Instant>,
    cut_off: AtomicU64,
}

impl Stop {
    pub(super) fn new(drain: Duration) -> Self {
        Self(Arc::new(State {
            drain,
            begun: OnceLock::new(),
            cut_off: AtomicU64::new(0),
        }))
    }

    fn begin(&self) {
        let _ = self.0.begun.set(Instant::now());
    }

    /// A handler was cancelled: because the drain time is over, or because its lease was lost.
    pub(super) fn note_cancelled(&self) {
        if self
            .0
            .begun
            .get()
            .is_some_and(|begun| begun.elapsed() >= self.0.drain)
        {
            self.0.cut_off.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many handlers did not finish within the drain time.
    pub(super) fn cut_off(&self) -> u64 {
        self.0.cut_off.load(Ordering::Relaxed)
    }
}
