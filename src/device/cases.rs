//! The table of cases of every operation.
