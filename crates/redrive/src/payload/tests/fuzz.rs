//! Fuzz of payloads: any bytes, and payloads of each codec with something wrong in them.

use proptest::prelude::*;
use redrive_testkit::fuzz;
use serde_json::value::RawValue;

use super::super::{Encoding, MOST_BYTES, PayloadCodec, Unfit, look, restore, show};
use super::laws::nearly;

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
    fuzz("payload decoders", &cases, |(bytes, form)| {
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
