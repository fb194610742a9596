//! A search by shards, replicas and workers: the whole protocol in virtual time, under faults.

mod beats;
mod check;
mod children;
mod conformance;
mod drain;
mod embedded;
mod executor;
mod foreign;
pub mod nats;
mod processes;
mod protocol;
mod rights;
mod scale;
pub mod server;
mod simulated;
mod synchronous;
mod three;
mod trial;
mod world;
