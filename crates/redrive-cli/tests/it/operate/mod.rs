//! What an operator does: dead letters, health, what is pending; on a real server, by the binary alone.

mod bulk;
mod doctor;
mod envelopes;
mod exactly;
mod exporting;
mod grouping;
mod health;
mod heavy;
mod hostile;
mod importing;
mod incident;
mod interop;
mod listing;
mod looking;
mod migrating;
mod mistakes;
mod outputs;
mod pacing;
mod pending;
mod pulling;
mod repairing;
mod replaying;
pub(crate) mod rig;
mod runbook;
mod selecting;
mod terminal;
mod trim;
