//! Fuzz of payloads: any bytes, and payloads of each codec with something wrong in them.

use proptest::prelude::*;
use redrive_testkit::{fuzz_bytes, pieces};
use serde_json::value::RawValue;

use super::super::{
    Assignment, Encoding, MOST_BYTES, MergePatch, Misfit, PayloadCodec, Unfit, at, edit, look,
    restore, set, show,
};
use super::laws::nearly;
use crate::dead_letter::DeadLetterLayout;
use crate::message::Fields;

const ALL: [Encoding; 6] = [
    Encoding::Json,
    Encoding::MessagePack,
    Encoding::Cbor,
    Encoding::Text,
    Encoding::Raw,
    Encoding::Fields,
];

/// Whatever the bytes: every codec shows them or says that they are none of its own, what is shown
/// is JSON that goes back, and what goes back is shown the same.
#[test]
fn fuzz_of_payload_decoders_panics_0() {
    let cases = (nearly(), "[\\[\\]{},:\"$\\\\a-z0-9.e-]{0,30}");
    let read = |bytes: &[u8]| {
        let [payload, form] = pieces(bytes).try_into().ok()?;
        Some((payload, String::from_utf8(form).ok()?))
    };
    fuzz_bytes("payload decoders", &cases, read, |(bytes, form)| {
        prop_assert!(look(&bytes).is_some(), "so few bytes are too many");
        for encoding in ALL {
            let codec = PayloadCodec::plain(encoding);
            if let Ok(form) = RawValue::from_string(form.clone()) {
                says_why(&form, codec)?;
            }
            let Ok(form) = show(&bytes, encoding) else {
                continue;
            };
            prop_assert!(form.get().len() <= MOST_BYTES);
            prop_assert!(serde_json::from_str::<&RawValue>(form.get()).is_ok());
            let back = restore(&form, codec).map_err(|Unfit(why)| TestCaseError::fail(why))?;
            let again =
                show(&back, encoding).map_err(|_| TestCaseError::fail("not shown again"))?;
            prop_assert_eq!(again.get(), form.get());
        }
        Ok(())
    });
}

/// A form that people wrote becomes bytes that are shown, or is refused with a reason.
fn says_why(form: &RawValue, codec: PayloadCodec) -> Result<(), TestCaseError> {
    match restore(form, codec) {
        Ok(bytes) => prop_assert!(show(&bytes, codec.encoding).is_ok(), "{:?}", bytes),
        Err(Unfit(why)) => prop_assert!(!why.is_empty()),
    }
    Ok(())
}

/// Whatever is typed as a path with a value: it is read, and what is written of it reads the same;
/// or it is refused in one line with a cure. What is set in a payload can be set again, and nothing
/// panics whatever the payload.
#[test]
fn fuzz_of_payload_paths_panics_0() {
    let part =
        "(\\.|\\[|\\]|\"|=|\\$|\\$\\$|a|data|0|1|b\\.c|\"b\\.c\"|\\[0\\]|\\[1\\]|\\n|é|\\PC){0,6}";
    let cases = (
        part,
        "(=[\\[\\]{},:\"$a0-9.-]{0,8}){0,2}",
        nearly(),
        "[\\[\\]{},:\"$\\\\a-z0-9.e-]{0,20}",
    );
    let read = |bytes: &[u8]| {
        let [path, value, payload, patch] = pieces(bytes).try_into().ok()?;
        let text = |bytes| String::from_utf8(bytes).ok();
        Some((text(path)?, text(value)?, payload, text(patch)?))
    };
    fuzz_bytes(
        "payload paths",
        &cases,
        read,
        |(path, value, bytes, patch)| {
            if let Ok(patch) = patch.parse::<MergePatch>()
                && let Some((_, form)) = look(&bytes)
                && let Ok(once) = patch.applied_to(&form)
            {
                let again = patch
                    .applied_to(&once)
                    .map_err(|Misfit(what)| TestCaseError::fail(what))?;
                prop_assert_eq!(again.get(), once.get());
            }
            let assignment: Assignment = match format!("data{path}{value}").parse() {
                Ok(assignment) => assignment,
                Err(error) => {
                    let told = error.to_string();
                    prop_assert!(
                        error.cure().is_some() && !told.contains(['\n', '\u{1b}']),
                        "{}",
                        told
                    );
                    return Ok(());
                }
            };
            let written = assignment.to_string();
            let again: Assignment = written.parse().map_err(|_| TestCaseError::fail(written))?;
            prop_assert_eq!(&again, &assignment);
            // Where a value is set it is found, whatever was there.
            if let Some((_, form)) = look(&bytes)
                && let Ok(once) = edit::set(&form, assignment.path(), assignment.value())
            {
                let found = at(once.get(), assignment.path().steps());
                prop_assert_eq!(found, Some(assignment.value().get()));
            }
            let fields = Fields::from_iter([("data", bytes)]);
            let assignments = [assignment];
            if let Ok(once) = set(&fields, DeadLetterLayout::Native, &assignments) {
                let (name, value) = once.iter().next().unwrap_or_default();
                prop_assert_eq!(name, b"data");
                prop_assert!(look(value).is_some());
            }
            Ok(())
        },
    );
}
