//! Fuzz of literals: durations, sizes, backoffs, spans and instants.

use proptest::prelude::*;
use redrive_testkit::fuzz_bytes;

use super::*;
use crate::output::json::instant;
use crate::when;

/// Any text, and texts of what literals are made of.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,8}",
        "(none|[0-9]{0,20}|[0-9]{1,3}(ms|s|m|h|d|KiB|MB|B)|\\.\\.|[-+. ])(ms|s|[0-9]{0,3}(ms|m|h|d|kB|GiB)){0,3}",
        "[0-9]{1,2}(ms|s|m|h)\\.\\.[0-9]{1,2}(s|m|h|d)",
    ]
}

/// Whatever is written: it is read or refused in one line; what is read is no longer than a hundred
/// years; and what is shown is read as the same.
#[test]
fn fuzz_of_literals_panics_0() {
    let cases = (texts(), 0..=LONGEST_MS, any::<u64>());
    let read = |bytes: &[u8]| {
        let (number, text) = bytes.split_first_chunk()?;
        let number = u64::from_le_bytes(*number);
        let text = String::from_utf8(text.to_vec()).ok()?;
        Some((text, number % (LONGEST_MS + 1), number))
    };
    fuzz_bytes("literals", &cases, read, |(text, ms, any)| {
        let longest = Duration::from_millis(LONGEST_MS);
        let some = Duration::from_millis(ms);
        prop_assert_eq!(duration(&Shown(some).to_string()), Ok(some));
        let fixed = Wait::Fixed(some);
        prop_assert_eq!(Shown(some).to_string().parse(), Ok(fixed));
        drop((
            Shown(Duration::from_millis(any)).to_string(),
            Shown(Duration::MAX).to_string(),
        ));
        drop((when::span(any), when::dated(any), instant(any)));

        match duration(&text) {
            Ok(read) => {
                prop_assert!(read <= longest);
                prop_assert_eq!(duration(&Shown(read).to_string()), Ok(read));
            }
            Err(why) => one_line(&why)?,
        }
        match size(&text) {
            Ok(bytes) => prop_assert_eq!(size(&bytes.to_string()), Ok(bytes)),
            Err(why) => one_line(&why)?,
        }
        match text.parse::<Wait>() {
            Ok(Wait::Exponential(first, most)) => prop_assert!(first <= most && most <= longest),
            Ok(Wait::None | Wait::Fixed(_)) => {}
            Err(why) => one_line(&why)?,
        }
        let least = Duration::from_millis(1);
        match duration_or_none_from(least)(&text) {
            Ok(DurationOrNone(read)) => {
                prop_assert!(read.is_none_or(|read| (least..=YEAR).contains(&read)));
            }
            Err(why) => one_line(&why)?,
        }
        match count_in(2..=9)(&text) {
            Ok(count) => prop_assert!((2..=9).contains(&count)),
            Err(why) => one_line(&why)?,
        }
        Ok(())
    });
}

/// Why a text is refused: something, on one line.
fn one_line(why: &str) -> Result<(), TestCaseError> {
    prop_assert!(
        !why.is_empty() && !why.chars().any(char::is_control),
        "{:?}",
        why
    );
    Ok(())
}
