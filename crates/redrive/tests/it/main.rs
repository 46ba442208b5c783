//! What redrive promises, shown from outside on real servers: its public calls, and plain commands to look.
#![cfg(test)]

mod access;
mod audits;
mod bytes;
mod carrying;
mod consumers;
mod cost;
mod counting;
mod crashes;
mod doctor;
mod envelope_system;
mod examples;
mod flat_replay;
mod flat_system;
mod groups;
mod healing;
mod interop;
mod large;
mod limits;
mod looking;
mod ordering;
mod pausing;
mod payloads;
mod quarantine;
mod races;
mod retries;
mod rig;
mod sentinel;
mod stopping;
mod trim;

use std::time::Duration;

/// Far more than anything here takes; only a failure waits that long.
const SOON: Duration = Duration::from_secs(60);
