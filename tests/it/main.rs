//! The integration tests, one binary.

mod audit; // a run recomputed; every edit of a journal found
mod cases; // one table of test cases an operation
mod cli; // commands as a user types them
mod cluster; // shards, replicas and workers in virtual time, under faults
mod controller; // learns a rigged reward; gradient against finite differences
mod cuda;
mod data; // split, views and bad files
mod deploy; // what others run the program by: batch scripts, manifests, an image
mod durable; // power cuts, failed writes and flipped bits lose nothing
mod examples; // the shipped architectures state their size
mod export; // exports as other programs read them
mod fuzz; // random inputs to all that is read from outside
mod go_on; // training stopped and gone on with = never stopped: what a plan's state is
mod gradients; // backward = finite differences, over cases
mod journal; // damaged journals; resume equals never having stopped
mod language; // whole language models: gradients, memory, learning
mod layering; // dependency order, file lengths
mod ops; // cpu = reference, guard bands, repeat = same bits, over cases
mod oracle; // random architectures against JAX
mod paper; // every built clause of docs/paper.md has code and a test that cite it
mod plan; // random architectures: shapes agree, no two live buffers overlap
mod recurrent; // the paper's printed cells = their formulas
mod search; // the whole loop with the stub evaluator
mod skim; // a journal skimmed = the journal read in full
mod space; // tokens to JSON and back; every sampled architecture is valid
mod train; // overfits a tiny set; devices agree
