//! One run of the handler on one message: decoded, timed, its panics caught.

use std::any::Any;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, poll};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::codec::{Decode, DecodeError};
use crate::dead_letter::split_lineage;
use crate::gate::Pass;
use crate::handler::Handler;
use crate::message::{Cancel, Envelope, Fields, Lineage, Message};
use crate::names::{EntryId, Source};
use crate::outcome::{Failure, Outcome};
use crate::telemetry;

type Decoded = Result<BoxFuture<'static, Outcome>, DecodeError>;

/// A codec and a handler, their types forgotten.
#[derive(Clone)]
pub(crate) struct Runner(Arc<dyn Fn(Arc<Envelope>) -> Decoded + Send + Sync>);

impl Runner {
    pub(crate) fn new<C, T, H>(codec: C, handler: H) -> Self
    where
        C: Decode<T>,
        T: Send + 'static,
        H: Handler<T>,
    {
        let handler = Arc::new(handler);
        Self(Arc::new(move |envelope: Arc<Envelope>| {
            let payload = codec.decode(&envelope.fields)?;
            let handler = Arc::clone(&handler);
            let message = Message::new(payload, envelope);
            Ok(async move { handler.handle(message).await }.boxed())
        }))
    }
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Runner")
    }
}

/// What a run needs to know.
pub(crate) struct Work {
    pub(crate) runner: Runner,
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) pass: Pass,
}

/// A message as it comes to its handler, whose fields are those of its entry.
pub(crate) fn envelope(
    id: EntryId,
    source: Arc<Source>,
    attempt: u32,
    age: Duration,
    fields: &Fields,
) -> Envelope {
    let (fields, lineage) = split_lineage(fields);
    Envelope {
        id,
        source,
        attempt,
        age,
        fields,
        lineage: (lineage != Lineage::default()).then(|| Box::new(lineage)),
        cancel: Cancel::default(),
    }
}

/// What came of a run.
#[derive(Debug)]
pub(crate) enum Ran {
    Spoke(Outcome),
    Undecodable(DecodeError),
}

/// Runs the handler. A panic of it, of the codec, or of what either drops ends no more than this. Its
/// time-out counts from `now`.
pub(crate) async fn run(work: Work, now: Instant) -> Ran {
    let span = telemetry::run_span(work.envelope.id, work.envelope.attempt);
    let run = std::pin::pin!(run_in_span(work, now));
    let ran = AssertUnwindSafe(run.instrument(span)).catch_unwind().await;
    ran.unwrap_or_else(|panic| Ran::Spoke(panicked(&*panic)))
}

async fn run_in_span(work: Work, now: Instant) -> Ran {
    // Kept until the handler is gone, however it goes: an aborted one may still be running.
    let _inside = work.pass;
    let mut handling = match (work.runner.0)(work.envelope) {
        Ok(handling) => handling,
        Err(error) => return Ran::Undecodable(error),
    };
    // One that does not wait for anything needs no timer.
    if let Poll::Ready(outcome) = poll!(handling.as_mut()) {
        return Ran::Spoke(outcome);
    }
    let handling = waiting(handling.as_mut());
    let ended = match work.timeout.map(|limit| (limit, now.checked_add(limit))) {
        Some((limit, Some(end))) => timeout_at(end, handling).await.map_err(|_| limit),
        _ => Ok(handling.await),
    };
    Ran::Spoke(ended.unwrap_or_else(timed_out))
}

/// Awaits what this task has just polled, and what waits: it knows whom to wake, so it is not polled again before.
pub(super) async fn waiting<F: Future + ?Sized>(mut polled: Pin<&mut F>) -> F::Output {
    let mut is_woken = false;
    let next = poll_fn(|cx| match std::mem::replace(&mut is_woken, true) {
        true => polled.as_mut().poll(cx),
        false => Poll::Pending,
    });
    next.await
}

fn timed_out(limit: Duration) -> Outcome {
    failed(format!("timed out after {}", short(limit)), "timeout")
}

/// The failure that a panic is.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Outcome {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("the handler panicked without a text");
    failed(text, "panic")
}

fn failed(error: impl Into<String>, kind: &str) -> Outcome {
    Outcome::Retry {
        failure: Failure::kinded(error, kind),
        after: None,
    }
}

/// A duration as people write it on the command line: `5m`, `1h30m`, `250ms`.
fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() != 0 || seconds == 0 {
        return format!("{duration:?}");
    }
    [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")]
        .into_iter()
        .scan(seconds, |left, (unit, name)| {
            let whole = *left / unit;
            *left %= unit;
            Some((whole, name))
        })
        .filter(|(whole, _)| *whole > 0)
        .map(|(whole, name)| format!("{whole}{name}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        let shown = [300, 5_400, 30, 86_401].map(|s| short(Duration::from_secs(s)));
        assert_eq!(shown, ["5m", "1h30m", "30s", "1d1s"]);
        assert_eq!(short(Duration::from_millis(250)), "250ms");
        assert_eq!(short(Duration::from_millis(1_500)), "1.5s");
    }
}
