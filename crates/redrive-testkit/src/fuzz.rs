//! Random input to a plain function for a while: no panic, or the smallest input that makes one.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::fail;

/// How long the gate has for one function.
const SECONDS: u64 = 5;

/// Gives a function random input for 5 s, or for `REDRIVE_FUZZ_SECONDS`, and prints how much that was and the seed;
/// `REDRIVE_FUZZ_SEED` repeats it.
///
/// ```
/// # // A second is enough for a page.
/// use proptest::prelude::any;
/// use redrive_testkit::fuzz_for;
/// let ran = fuzz_for(std::time::Duration::from_millis(50), 17, "parsing a number", &any::<String>(), |text| {
///     let _ = text.parse::<u64>();
/// });
/// assert!(ran > 0);
/// ```
///
/// # Panics
///
/// When the function does: the message holds the smallest input found, and the seed.
#[track_caller]
pub fn fuzz<S: Strategy>(name: &str, input: &S, check: impl Fn(S::Value))
where
    S::Value: Debug,
{
    let time = number("REDRIVE_FUZZ_SECONDS").unwrap_or(SECONDS);
    let seed = number("REDRIVE_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let time = Duration::from_secs(time);
    let ran = fuzz_for(time, seed, name, input, check);
    #[expect(clippy::print_stdout, reason = "a run tells how to repeat it")]
    {
        println!("fuzz: {name}: {ran} inputs in {time:?}, REDRIVE_FUZZ_SEED={seed}");
    }
}

/// As [`fuzz`], for a time and with a seed of the caller's. Answers how many inputs there were.
///
/// # Panics
///
/// As [`fuzz`].
#[track_caller]
pub fn fuzz_for<S: Strategy>(
    time: Duration,
    seed: u64,
    name: &str,
    input: &S,
    check: impl Fn(S::Value),
) -> u64
where
    S::Value: Debug,
{
    const AT_ONCE: u32 = 256;
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let dice = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    // A file with old failures beside the sources would be a thing left behind.
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(AT_ONCE)
    };
    let mut runner = TestRunner::new_with_rng(config.clone(), dice);
    let end = Instant::now() + time;
    let mut ran = 0;
    while Instant::now() < end {
        // A runner has only so many cases in it, however often it is run.
        let dice = runner.new_rng();
        let mut round = TestRunner::new_with_rng(config.clone(), dice);
        let done = round.run(input, |value| {
            check(value);
            Ok::<(), TestCaseError>(())
        });
        match done {
            Ok(()) => ran += u64::from(AT_ONCE),
            Err(TestError::Fail(reason, value)) => fail(&format!(
                "{name}: {reason}; the smallest input is {value:?}; REDRIVE_FUZZ_SEED={seed} repeats it"
            )),
            Err(TestError::Abort(reason)) => fail(&format!("{name}: no input: {reason}")),
        }
    }
    ran
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => fail(&format!("{variable} is {text:?}, which is no number")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;

    use super::*;

    #[test]
    #[should_panic(expected = "the smallest input is 1000; REDRIVE_FUZZ_SEED=7 repeats it")]
    fn a_panic_is_found_made_small_and_told_with_its_seed() {
        let limit = Duration::from_secs(30);
        fuzz_for(limit, 7, "numbers", &any::<u32>(), |number| {
            assert!(number < 1_000, "too large");
        });
    }
}
