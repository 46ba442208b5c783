//! Tests of payloads: what each codec is shown as, and that it comes back.

mod entries;
mod fuzz;
mod laws;
mod previews;
mod repairs;
mod shown;

use serde_json::value::RawValue;

use super::{Encoding, Flaw, PayloadCodec, Unfit, look, restore, show};

/// Codec and form.
fn looked(bytes: &[u8]) -> (&'static str, String) {
    let (codec, form) = look(bytes).unwrap();
    (codec.as_str(), form.get().to_owned())
}

fn codec(encoding: Encoding) -> PayloadCodec {
    PayloadCodec::plain(encoding)
}

fn back(form: &str, encoding: Encoding) -> Result<Vec<u8>, &'static str> {
    let form = RawValue::from_string(form.to_owned()).unwrap();
    restore(&form, codec(encoding)).map_err(|Unfit(what)| what)
}
