//! The program `gantry`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gantry::run()
}
