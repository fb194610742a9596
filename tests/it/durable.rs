//! Nothing is lost: power cuts, failed writes and damaged files, on a disk in memory.

mod case;
mod damage;
pub mod disk; // fuzz reads journals from it
mod faults;
mod others;
mod power;
