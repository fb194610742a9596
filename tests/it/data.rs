//! Data sets: split and order, views, folders and their faults, the bundled sample, made-up data.

mod advice;
mod classes;
mod corpus;
mod fetch;
mod folder;
mod pictures;
mod sample;
mod split;
mod synthetic;
mod views;
mod windows;
