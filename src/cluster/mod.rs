//! A search on many machines: shards of the controller's parameters, replicas of the controller, and
//! workers that train children, who share nothing but an [`Engine`](engine::Engine).
//!
//! `engine` says what is asked of it, and the three rules that all correctness rests on; `replica`,
//! `applier` and `worker` are the roles, `learner` what they compute, `message` what they leave for one
//! another.

pub mod applier;
pub mod audit;
pub mod beat;
mod codec;
pub mod control;
pub mod embedded;
pub mod engine;
pub mod explain;
pub mod export;
pub mod facts;
pub mod key;
pub mod learner;
pub mod message;
pub mod nats;
pub mod process;
mod record;
pub mod replay;
pub mod replica;
pub mod role;
pub mod scheme;
pub mod settings;
pub mod worker;

pub use role::RoleError;
