//! The files of exports: made safely, as that of a pull is, packed by their names, read in lines that are bounded.

mod member;
mod packing;
mod source;
mod spill;
mod target;

pub(crate) use packing::{Packer, Packing};
pub(crate) use source::{Lines, Source};
pub(crate) use spill::SpillFile;
pub(crate) use target::{Existing, Target};

use std::hash::{BuildHasher, Hasher, RandomState};

/// Part of a name that nobody else chooses.
fn random() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
