//! Redis Streams consumers done right.
