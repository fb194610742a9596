//! A search by shards, replicas and workers: the whole protocol in virtual time, under faults.

mod check;
mod conformance;
mod executor;
mod foreign;
pub mod nats;
mod protocol;
mod rights;
pub mod server;
mod simulated;
mod synchronous;
mod three;
mod trial;
mod world;
