//! The `nas-engine` program: everything is in the library's `cli`, which chooses the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    nas_engine::cli::main()
}
