//! The command `wasmpost`.

use std::process::ExitCode;

fn main() -> ExitCode {
    wasmpost::cli::main()
}
