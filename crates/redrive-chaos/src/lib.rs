//! What the chaos suite is made of: the account of a run and its verdict, effects that are counted outside, and a
//! worker that does what its messages say.

pub mod account;
pub mod deed;
pub mod effects;
pub mod worker;
