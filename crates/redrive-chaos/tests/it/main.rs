//! Every test here hurts the real binary, or a real server, and counts what is left.

mod sweep;
