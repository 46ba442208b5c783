//! How much of everything: what the gate has time for, or the full size (`REDRIVE_CHAOS=full`).

/// One of two sizes.
pub(crate) fn size<T>(gate: T, full: T) -> T {
    match std::env::var("REDRIVE_CHAOS").as_deref() {
        Ok("full") => full,
        Ok("") | Err(_) => gate,
        Ok(other) => panic!("REDRIVE_CHAOS is {other:?}; it is `full`, or not set"),
    }
}
