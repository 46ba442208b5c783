//! Waiting for something to become true on a real server, with a deadline instead of a sleep.

use std::fmt::Debug;
use std::panic::Location;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::fail;

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// What a look at the world brought: found, or not yet.
///
/// `bool` finds `true`; `Option<T>` finds the value; `Result<T, E>` finds the value too and says with its error what
/// it saw instead, which makes the better message.
pub trait Observation {
    /// What was waited for.
    type Found;

    /// The thing itself, or what was seen instead.
    ///
    /// # Errors
    ///
    /// What was seen instead, for the message of the test that gives up.
    fn found(self) -> Result<Self::Found, String>;
}

impl Observation for bool {
    type Found = ();

    fn found(self) -> Result<(), String> {
        if self {
            Ok(())
        } else {
            Err("false".to_owned())
        }
    }
}

impl<T> Observation for Option<T> {
    type Found = T;

    fn found(self) -> Result<T, String> {
        self.ok_or_else(|| "None".to_owned())
    }
}

impl<T, E: Debug> Observation for Result<T, E> {
    type Found = T;

    fn found(self) -> Result<T, String> {
        self.map_err(|seen| format!("{seen:?}"))
    }
}

/// Looks again and again until something is found, and returns it.
///
/// For real servers only: it waits by the real clock, so a test that pauses tokio's has no use for it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::time::Duration;
///
/// use redrive_testkit::eventually;
///
/// let mut looks = 0;
/// let found = eventually(Duration::from_secs(5), "the third look", async || {
///     looks += 1;
///     if looks == 3 { Ok(looks) } else { Err(format!("look {looks}")) }
/// });
/// assert_eq!(found.await, 3);
/// # }
/// ```
///
/// # Panics
///
/// When the deadline has passed: the message says what was waited for, where, and what was seen last.
#[track_caller]
pub fn eventually<O: Observation>(
    deadline: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> O,
) -> impl Future<Output = O::Found> {
    let caller = Location::caller();
    async move {
        let end = Instant::now() + deadline;
        let mut pause = FIRST_PAUSE;
        let mut last = None;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // A look that hangs, at a frozen server for one, must not hide what was seen before.
            let seen = match timeout(left, look()).await {
                Ok(observation) => match observation.found() {
                    Ok(found) => return found,
                    Err(seen) => seen,
                },
                Err(_) => match last {
                    Some(last) => format!("{last}, then a look without an answer"),
                    None => "a look without an answer".to_owned(),
                },
            };
            if Instant::now() + pause >= end {
                fail(&format!(
                    "{caller}: not within {deadline:?}: {what}; seen last: {seen}"
                ));
            }
            last = Some(seen);
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}
