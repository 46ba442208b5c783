//! Whether the broker takes writes, found out by one that changes nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::health::{Backoff, Health, Part, Writes};
use crate::backend::Seat;
use crate::error::{Error, ErrorKind};

/// The shortest time between two looks at a broker that takes writes, however short the lease.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// How long a server that refuses for the first time is believed to, without being asked.
const FIRST_HOLD: Duration = Duration::from_millis(50);

/// Looks every third of a lease, so that a broker that refuses is known before all that is new was
/// read into hands that cannot be emptied; and with growing pauses once any call was refused, until
/// it takes writes again. Ends with what retrying cannot cure.
pub(super) async fn watch(seat: &dyn Seat, lease: Duration, health: &Health) -> Error {
    let every = (lease / 3).max(LOOK_AT_MOST_EVERY);
    let mut told = health.writes();
    let mut relapses = 0;
    let mut backoff = Backoff::default();
    let mut next = Instant::now() + every;
    loop {
        tokio::select! {
            biased;
            // Refused to this look or to any other call.
            Ok(()) = told.changed() => {
                if *told.borrow_and_update() == Writes::Refused {
                    next = Instant::now() + hold(relapses, every);
                    relapses += 1;
                    backoff.reset();
                }
                continue;
            }
            () = sleep_until(next) => {}
        }
        let before = *told.borrow();
        let pause = match (seat.probe_writes().await, before) {
            (Ok(()), Writes::Taken) => {
                relapses = 0;
                every
            }
            (Ok(()), Writes::Refused) => {
                health.writes_taken();
                every
            }
            (Err(error), _) if error.kind() == ErrorKind::WritesRefused => {
                health.failing(Part::Writes, error);
                backoff.pause()
            }
            (Err(error), _) if !error.kind().is_transient() => return error,
            // Whether it takes writes is not known while it does not answer; that it does not, other
            // calls say.
            (Err(_), Writes::Taken) => every,
            (Err(_), Writes::Refused) => backoff.pause(),
        };
        next = Instant::now() + pause;
    }
}

/// How long nothing is read, at least, once writes were refused again soon after they were taken: at
/// the edge of its memory a server changes its mind with each message, and that must not be a line
/// of the log each time.
fn hold(relapses: u32, every: Duration) -> Duration {
    FIRST_HOLD
        .saturating_mul(4_u32.saturating_pow(relapses))
        .min(every)
        .mul_f64(0.5 + fastrand::f64() / 2.0)
}
