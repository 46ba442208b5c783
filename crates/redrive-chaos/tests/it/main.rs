//! Every test here hurts the real binary, or a real server, and counts what is left.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and a run tells its verdict"
)]

mod arena;
mod bytes;
mod crew;
mod dead;
mod flat;
mod load;
mod million;
mod orphans;
mod outages;
mod partitions;
mod poison;
mod program;
mod replays;
mod sentinel;
mod shared_group;
mod sigkills;
mod sigterm;
mod size;
mod slow;
mod soak;
mod sweep;
mod target;

use std::time::Duration;

/// Enough for anything that takes a moment, on a machine that does something else as well.
const SOON: Duration = Duration::from_secs(60);
