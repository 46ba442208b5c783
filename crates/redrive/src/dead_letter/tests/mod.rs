//! Tests of dead letters, and what they share.

mod fuzz;
mod interop;
mod laws;
mod reading;
mod replaying;
mod writing;

use bytes::Bytes;

use super::*;
use crate::error::ErrorKind;
use crate::message::Lineage;
use crate::names::Source;

fn fields<V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (impl AsRef<[u8]>, V)>) -> Fields {
    pairs
        .into_iter()
        .map(|(name, value)| {
            (
                Bytes::copy_from_slice(name.as_ref()),
                Bytes::copy_from_slice(value.as_ref()),
            )
        })
        .collect()
}

fn joined(parts: &[&Fields]) -> Fields {
    fields(parts.iter().flat_map(|part| part.iter()))
}

fn id() -> EntryId {
    EntryId::new(1712, 5)
}

fn source() -> Source {
    Source::new("orders", "billing").unwrap()
}

fn obituary(source: &Source) -> Obituary<'_> {
    Obituary {
        source,
        id: EntryId::new(1700, 1),
        reason: Reason::AttemptsExhausted,
        error: "card refused",
        error_kind: Some("Refused"),
        fingerprint: "0123456789abcdef",
        failures: 3,
        crashes: 1,
        deliveries: 7,
        consumer: "consumer_1",
        first_at_ms: Some(1_699_999_999_000),
        dead_at_us: 1_700_000_000_001_002,
    }
}

/// Bytes and names that a careless reader mistakes for its own, or does not survive.
fn tricky() -> Fields {
    fields([
        (&b"attempts"[..], &b"user"[..]),
        (b"original_id", b"user"),
        (b"id", b""),
        (b"", b"no name"),
        (b"id", b"again"),
        (b"\xff\xfe", b"\x00\x80"),
        (b"redrive-v", b"1"),
        (b"redrive-fields", b"6"),
        (b"redrive-reason", b"rejected"),
        (b"redrive-packed", b"\xff\xff\xff\xff"),
        (b"redrive-v", b"1"),
        (b"redrive-fields", b"999"),
    ])
}
