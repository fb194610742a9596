//! Criterion entry.

fn main() {}
