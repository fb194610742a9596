//! Nothing is lost: power cuts, failed writes and damaged files, on a disk in memory.

mod case;
mod damage;
mod disk;
mod faults;
mod others;
mod power;
