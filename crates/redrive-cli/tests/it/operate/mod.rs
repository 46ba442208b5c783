//! What an operator does: dead letters, health, what is pending; on a real server, by the binary alone.

mod bulk;
mod envelopes;
mod health;
mod heavy;
mod hostile;
mod interop;
mod listing;
mod looking;
mod migrating;
mod mistakes;
mod outputs;
mod pending;
mod pulling;
mod replaying;
pub(crate) mod rig;
mod runbook;
mod terminal;
mod trim;
