//! Fuzzing: random cases, each held against laws, until the time is over; or, by hand, cases that libFuzzer chooses
//! by what code they reach.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::any;
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
    #[cfg(fuzzing_libfuzzer)]
    if is_guided() {
        return;
    }
    random(what, cases, law);
}

/// As [`fuzz`], for what is read from bytes: `read` makes a case of any bytes, or `None`.
///
/// With `make fuzz-guided` libFuzzer writes the bytes, by what code those before them reached. In the gate a few are
/// random, and the strategy makes all other cases.
///
/// ```no_run
/// use proptest::prelude::*;
/// use redrive_testkit::fuzz_bytes;
///
/// let read = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
/// fuzz_bytes("numbers", &"[0-9]{0,30}", read, |text| {
///     prop_assert!(text.parse::<u8>().is_err() || text.parse::<u16>().is_ok());
///     Ok(())
/// });
/// ```
///
/// # Panics
///
/// As [`fuzz`].
#[track_caller]
pub fn fuzz_bytes<S: Strategy>(
    what: &str,
    cases: &S,
    read: impl Fn(&[u8]) -> Option<S::Value>,
    law: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let law_of_bytes = |bytes: &[u8]| read(bytes).map_or(Ok(()), &law);
    #[cfg(fuzzing_libfuzzer)]
    if is_guided() {
        return guided(what, law_of_bytes);
    }
    let some = vec(any::<u8>(), 0..64);
    let few = run(Instant::now(), 1, &some, |bytes| law_of_bytes(&bytes));
    if let Err(found) = few {
        fail(&format!("fuzz of {what}: {found}"));
    }
    random(what, cases, law);
}

/// The pieces that bytes are written in, for who reads several things from them: 0xff stands between two, and 0xfe
/// before a byte that is meant as it is.
pub fn pieces(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    let mut left = bytes.iter();
    while let Some(byte) = left.next() {
        match (byte, all.last_mut()) {
            (0xff, _) => all.push(Vec::new()),
            (0xfe, Some(piece)) => piece.extend(left.next()),
            (byte, Some(piece)) => piece.push(*byte),
            (_, None) => {}
        }
    }
    all
}

#[track_caller]
fn random<S: Strategy>(what: &str, cases: &S, law: impl Fn(S::Value) -> Result<(), TestCaseError>) {
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

/// Whether libFuzzer is to write the bytes. What has none is passed over then.
#[cfg(fuzzing_libfuzzer)]
fn is_guided() -> bool {
    std::env::var_os("BOLERO_LIBFUZZER_ARGS").is_some()
}

/// Hands over to libFuzzer, which ends the process: after as many runs as it was told, or at a finding.
#[cfg(fuzzing_libfuzzer)]
fn guided(what: &str, law: impl Fn(&[u8]) -> Result<(), TestCaseError>) {
    use bolero_engine::{BorrowedSliceTest, Engine, driver};
    let law = std::panic::AssertUnwindSafe(law);
    let law = &law;
    let test = BorrowedSliceTest::new(move |bytes: &[u8]| {
        if let Err(why) = law(bytes) {
            fail(&format!("fuzz of {what}: {why}"));
        }
    });
    bolero_libfuzzer::LibFuzzerEngine::default().run(test, driver::Options::default());
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
    fn pieces_hold_any_bytes() {
        assert_eq!(pieces(b""), [b""]);
        assert_eq!(pieces(b"a\xff\xffb"), [&b"a"[..], b"", b"b"]);
        assert_eq!(pieces(b"\xfe\xff\xfe\xfe\xff\xfe"), [&b"\xff\xfe"[..], b""]);
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
