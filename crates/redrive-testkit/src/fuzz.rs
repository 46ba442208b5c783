//! Fuzzing within a time: random cases, each held against laws, until the time is over.

use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::fail;

/// How long one fuzz test runs by itself.
const USUAL: Duration = Duration::from_secs(5);
/// Between two looks at the time.
const BATCH: u32 = 64;

/// Holds random cases against a law for 5 seconds, or as long as `REDRIVE_FUZZ_SECONDS` says, and tells how many
/// there were.
///
/// By itself it begins with the same cases each time: a change is what makes it fail, not luck. With
/// `REDRIVE_FUZZ_SECONDS` they are others each time. Whatever is found, a broken law or a panic, comes back as the
/// smallest case that still shows it, with the `REDRIVE_FUZZ_SEED` whose first cases hold it.
///
/// ```no_run
/// use proptest::prelude::*;
/// use redrive_testkit::fuzz;
///
/// fuzz("halves", &(0..1000_u32), |number| {
///     prop_assert!(number / 2 <= number);
///     Ok(())
/// });
/// ```
///
/// # Panics
///
/// When a case breaks the law, and for a number in the environment that is none.
#[track_caller]
pub fn fuzz<S: Strategy>(
    what: &str,
    cases: &S,
    law: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let seconds = given("REDRIVE_FUZZ_SECONDS");
    let time = seconds.map_or(USUAL, Duration::from_secs);
    let usual_seed = if seconds.is_some() {
        fastrand::u64(..)
    } else {
        1
    };
    let seed = given("REDRIVE_FUZZ_SEED").unwrap_or(usual_seed);
    match run(Instant::now() + time, seed, cases, law) {
        Ok(held) => {
            // Beside the harness: `cargo test` shows it with --nocapture, nextest with --no-capture.
            let told =
                format!("fuzz of {what}: {held} cases in {time:?} from seed {seed}, panics 0\n");
            let _ = std::io::Write::write_all(&mut std::io::stdout(), told.as_bytes());
        }
        Err(found) => fail(&format!("fuzz of {what}: {found}")),
    }
}

/// A number of the environment.
#[track_caller]
fn given(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => fail(&format!("{name} is no number: {text}")),
    }
}

/// How many cases held, or what was found. At least one batch is run.
fn run<S: Strategy>(
    end: Instant,
    first: u64,
    cases: &S,
    law: impl Fn(S::Value) -> Result<(), TestCaseError>,
) -> Result<u64, String> {
    let mut held = 0;
    for batch in 0.. {
        // Each batch has a seed of its own, so that a finding is repeated by its batch alone.
        let seed = first.wrapping_add(batch);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config {
            cases: BATCH,
            failure_persistence: None,
            max_shrink_time: 30_000,
            ..Config::default()
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        match TestRunner::new_with_rng(config, rng).run(cases, &law) {
            Ok(()) => held += u64::from(BATCH),
            Err(TestError::Abort(why)) => return Err(format!("given up: {why}")),
            Err(TestError::Fail(why, smallest)) => {
                return Err(format!(
                    "REDRIVE_FUZZ_SEED={seed}\n{why}\nshown by {smallest:#?}"
                ));
            }
        }
        if Instant::now() >= end {
            break;
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn what_is_found_is_the_smallest_case_and_a_seed_that_repeats_it() {
        let law = |number: u32| {
            prop_assert!(number < 900, "too many");
            Ok(())
        };
        let found = run(soon(), 7, &(0..1_000_u32), law).unwrap_err();
        assert!(found.contains("too many"), "{found}");
        assert!(found.ends_with("\nshown by 900"), "{found}");
        let seed = found.strip_prefix("REDRIVE_FUZZ_SEED=").unwrap();
        let seed: u64 = seed.split('\n').next().unwrap().parse().unwrap();
        // In its first batch: there is no time for another.
        let again = run(Instant::now(), seed, &(0..1_000_u32), law).unwrap_err();
        assert_eq!(again, found);
    }

    #[test]
    fn a_panic_is_found_as_a_broken_law_is() {
        let found = run(soon(), 1, &any::<u8>(), |byte| {
            assert!(byte < 100, "a panic");
            Ok(())
        });
        let found = found.unwrap_err();
        assert!(
            found.contains("a panic") && found.ends_with("shown by 100"),
            "{found}"
        );
    }

    #[test]
    fn without_time_there_is_a_batch_and_each_batch_is_another() {
        let sum = Cell::new(0_u128);
        let law = |number: u64| {
            sum.set(sum.get() + u128::from(number));
            Ok(())
        };
        assert_eq!(
            run(Instant::now(), 1, &any::<u64>(), law),
            Ok(u64::from(BATCH))
        );
        let first = sum.take();
        assert_eq!(
            run(Instant::now(), 2, &any::<u64>(), law),
            Ok(u64::from(BATCH))
        );
        assert_ne!(sum.take(), first);
    }
}
