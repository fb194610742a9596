//! Criterion entry.

use criterion::{criterion_group, criterion_main};

mod conv;

criterion_group!(benches, conv::conv);
criterion_main!(benches);
