//! Joining the group: asking until the broker answers, and waiting for a name that another process
//! has.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::drain::{LAST_ANSWERS, leave};
use super::health::{Backoff, Health, Part};
use super::run::Plan;
use crate::backend::{Backend, Joined, Seat};
use crate::error::Error;
use crate::telemetry;

/// How often who waits for a name looks whether it has become free.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Joins the group, unless the signal comes first.
pub(super) async fn join_unless<S: Future<Output = ()>>(
    mut signal: Pin<&mut S>,
    plan: &Plan,
    backend: &dyn Backend,
    health: &Health,
) -> Result<Option<Arc<dyn Seat>>, Error> {
    if futures_util::poll!(&mut signal).is_ready() {
        return Ok(None);
    }
    let mut waiting = Waiting::default();
    let mut backoff = Backoff::default();
    let join = || backend.join(plan.options.membership(&plan.source, &plan.token));
    loop {
        let mut joining = join();
        let joined = tokio::select! {
            biased;
            () = &mut signal => {
                finish(joining, plan).await;
                return Ok(None);
            }
            joined = &mut joining => joined,
        };
        let is_unanswered = joined.is_err();
        let pause = match joined {
            Ok(Joined::Seat(seat)) => {
                health.well(Part::Join);
                health.writes_taken();
                return Ok(Some(seat));
            }
            Ok(Joined::Taken { left }) => {
                health.well(Part::Join);
                let consumer = &plan.options.consumer;
                if waiting == Waiting::default() {
                    telemetry::name_taken(&plan.source, consumer, left);
                }
                let pause = waiting.pause(left, Instant::now());
                pause.ok_or_else(|| Error::name_taken(consumer))?
            }
            Err(error) if error.kind().is_transient() => {
                health.failing(Part::Join, error);
                backoff.pause()
            }
            Err(error) => return Err(error),
        };
        tokio::select! {
            biased;
            () = &mut signal => {
                // The answer that did not come may have been a yes.
                if is_unanswered {
                    finish(join(), plan).await;
                }
                return Ok(None);
            }
            () = sleep(pause) => {}
        }
    }
}

/// Half a consumer would be left behind: it finishes joining, and leaves.
async fn finish(joining: impl Future<Output = Result<Joined, Error>>, plan: &Plan) {
    if let Ok(Ok(Joined::Seat(seat))) = timeout(LAST_ANSWERS, joining).await {
        leave(&*seat, plan).await;
    }
}

/// The wait for a name, as long as the sign of life is good that was found at first: a process that
/// is no more does not renew it, and one that stops meanwhile takes it back.
#[derive(Debug, Default, PartialEq, Eq)]
struct Waiting {
    until: Option<Instant>,
}

impl Waiting {
    /// How long to wait before looking again; `None` when it is still taken and the wait is over.
    fn pause(&mut self, left: Duration, now: Instant) -> Option<Duration> {
        let Some(until) = self.until else {
            self.until = Some(now + left);
            return Some(left.min(LOOK_AGAIN));
        };
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then(|| left.min(LOOK_AGAIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_waited_for_as_long_as_its_first_sign_of_life_is_good() {
        let lease = Duration::from_millis(1_200);
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut waiting = Waiting::default();
        assert_eq!(waiting.pause(lease, at(0)), Some(LOOK_AGAIN));
        // Renewed meanwhile: that prolongs no wait.
        assert_eq!(waiting.pause(lease, at(500)), Some(LOOK_AGAIN));
        assert_eq!(
            waiting.pause(lease, at(1_000)),
            Some(Duration::from_millis(200))
        );
        assert_eq!(waiting.pause(lease, at(1_200)), None);
    }
}
