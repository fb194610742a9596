//! Neural architecture search with reinforcement learning: a controller designs convolutional
//! networks or recurrent cells, each is trained on real images or text, and the controller learns
//! from what they achieve.
//!
//! Modules in dependency order; a module uses only those above it:
//!
//! | module | holds |
//! |---|---|
//! | [`rng`] | random numbers addressed by (seed, purpose, index) |
//! | [`shape`] | the output-size formulas |
//! | [`text`] | numbers, digests and names as people read them |
//! | `large_pages` | memory of many megabytes in fewer pieces |
//! | [`disk`] | the disk as a run sees it; files that appear whole or not at all |
//! | [`checkpoint`] | files from which work goes on with the same bits |
//! | [`data`] | images: records, split, order of an epoch, views; texts: vocabulary, parts, windows |
//! | [`space`] | architectures and the search space: decisions in, architecture out, and back |
//! | [`graph`] | architecture to a plan of steps with one arena |
//! | [`device`] | what runs a plan: `reference` (the specification), `cpu` and `cuda` |
//! | [`train`] | one child: epochs, evaluation, weights |
//! | [`export`] | trained children for other programs, read back before they appear |
//! | [`controller`] | the LSTM policy and REINFORCE |
//! | [`config`] | settings of a run, parsed once into types that cannot be inconsistent |
//! | [`run`] | a run's directory: settings, journal, history, best weights, checkpoints |
//! | [`search`] | the loop, and who trains its children |
//! | [`finish`] | the best of a search trained by a grid of recipes, and once more for good |
//! | [`report`] | tables for people, objects for programs; what a child must cost a GPU |
//! | [`cli`] | commands and flags |

#[cfg(test)]
extern crate self as nas_engine; // the table of cases is used here and in tests/it

pub mod rng;
pub mod shape;

pub mod text;

mod large_pages;

pub mod disk;

pub mod checkpoint;

pub mod data;

pub mod space;

pub mod graph;

pub mod device;

pub mod train;

pub mod export;

pub mod controller;

pub mod config;

pub mod run;

pub mod search;

pub mod finish;

pub mod cluster;

pub mod report;

pub mod cli;
