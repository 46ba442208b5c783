//! How often a message is tried, and how long it waits in between.

use std::time::Duration;

/// The two budgets of a message and the delay between its attempts. Plain data.
///
/// ```
/// use std::time::Duration;
/// use redrive::RetryPolicy;
/// let policy = RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(300))
///     .max_attempts(5);
/// assert_eq!(policy.max_attempts, 5);
/// assert_eq!(policy.max_crashes, 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a policy does nothing until it is given to a processor"]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How many recorded failures (errors, panics, time-outs) make a dead letter
    /// `attempts_exhausted`: with 3, the third failure does. Default 3, at least 1.
    pub max_attempts: u32,
    /// How many crashes are too many: runs that ended with neither success, failure, hand-back
    /// nor a lost lease. Default 3, at least 2. A message one crash short of it runs with no other
    /// handler of its process beside it; if that crashes too, it is a dead letter `crash_loop`.
    pub max_crashes: u32,
    /// How long a failed message waits. Default exponential, 1 s doubling to 5 min.
    pub backoff: Backoff,
    /// How the delay is spread. Default full.
    pub jitter: Jitter,
}

/// The delay before the next attempt, before jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backoff {
    /// Due at once.
    None,
    /// Always the same.
    Fixed(Duration),
    /// `first`, doubled with every recorded failure, never more than `most`.
    Exponential {
        /// The delay after the first failure.
        first: Duration,
        /// The longest delay.
        most: Duration,
    },
}

/// How a delay is spread, so that what failed together does not come back together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Exactly the backoff.
    None,
    /// Anything between nothing and the backoff, evenly. Fixed backoff is not spread.
    #[default]
    Full,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::exponential(Duration::from_secs(1), Duration::from_secs(300))
    }
}

impl RetryPolicy {
    /// Delays that double from `first` to `most`, with full jitter.
    pub fn exponential(first: Duration, most: Duration) -> Self {
        Self::with(Backoff::Exponential { first, most })
    }

    /// Always the same delay.
    pub fn fixed(delay: Duration) -> Self {
        Self::with(Backoff::Fixed(delay))
    }

    /// No delay: a failed message is due at once.
    pub fn immediate() -> Self {
        Self::with(Backoff::None)
    }

    fn with(backoff: Backoff) -> Self {
        Self {
            max_attempts: 3,
            max_crashes: 3,
            backoff,
            jitter: Jitter::Full,
        }
    }

    /// Sets [`max_attempts`](Self::max_attempts).
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets [`max_crashes`](Self::max_crashes).
    pub fn max_crashes(mut self, crashes: u32) -> Self {
        self.max_crashes = crashes;
        self
    }

    /// Sets [`jitter`](Self::jitter).
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The delay after the given number of recorded failures (1 is the first); `roll` is a random
    /// number in `0.0..1.0`.
    pub(crate) fn delay(&self, failures: u32, roll: f64) -> Duration {
        match self.backoff {
            Backoff::None => Duration::ZERO,
            Backoff::Fixed(delay) => delay,
            Backoff::Exponential { first, most } => {
                let doublings = failures.saturating_sub(1).min(31);
                let full = first.saturating_mul(1 << doublings).min(most);
                match self.jitter {
                    Jitter::None => full,
                    Jitter::Full => full.mul_f64(roll.clamp(0.0, 1.0)),
                }
            }
        }
    }

    /// What is wrong with this policy, if anything.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.max_attempts < 1 {
            problems.push("max_attempts is 0, it must be at least 1".to_owned());
        }
        if self.max_crashes < 2 {
            problems.push(format!(
                "max_crashes is {}, it must be at least 2",
                self.max_crashes
            ));
        }
        if let Backoff::Exponential { first, most } = self.backoff
            && first > most
        {
            problems.push(format!(
                "the backoff starts at {first:?}, above its longest delay of {most:?}"
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn exponential_backoff_doubles_to_its_cap_without_overflow() {
        let policy = RetryPolicy::exponential(SECOND, 300 * SECOND).jitter(Jitter::None);
        let delays: Vec<u64> = [1, 2, 3, 9, 10, 33, u32::MAX]
            .into_iter()
            .map(|failures| policy.delay(failures, 0.0).as_secs())
            .collect();
        assert_eq!(delays, [1, 2, 4, 256, 300, 300, 300]);
    }

    #[test]
    fn full_jitter_spreads_from_nothing_to_the_backoff() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.delay(2, 0.0), Duration::ZERO);
        assert_eq!(policy.delay(2, 0.5), SECOND);
        assert_eq!(policy.delay(2, 1.0), 2 * SECOND);
        assert_eq!(RetryPolicy::fixed(SECOND).delay(7, 0.1), SECOND);
        assert_eq!(RetryPolicy::immediate().delay(7, 1.0), Duration::ZERO);
    }

    #[test]
    fn every_problem_of_a_policy_is_named() {
        let policy = RetryPolicy::exponential(2 * SECOND, SECOND)
            .max_attempts(0)
            .max_crashes(1);
        assert_eq!(policy.problems().len(), 3);
        assert!(RetryPolicy::default().problems().is_empty());
    }
}
