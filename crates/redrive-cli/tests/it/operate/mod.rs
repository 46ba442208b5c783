//! What an operator does: dead letters, health, what is pending; on a real server, by the binary alone.

mod bulk;
mod health;
mod listing;
mod migrating;
mod pending;
mod replaying;
mod rig;
