//! `jm`: recovery as code.
use std::process::ExitCode;

fn main() -> ExitCode {
    jm_cli::main()
}
