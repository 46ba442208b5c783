//! A worker for the chaos suite: the library in a process of its own, that can be killed.

fn main() {}
