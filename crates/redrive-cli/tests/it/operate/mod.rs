//! What an operator does: dead letters, health, what is pending; on a real server, by the binary alone.

mod bulk;
mod envelopes;
mod grouping;
mod health;
mod hostile;
mod incident;
mod interop;
mod listing;
mod migrating;
mod mistakes;
mod outputs;
mod pending;
mod replaying;
pub(crate) mod rig;
mod runbook;
mod terminal;
mod trim;
