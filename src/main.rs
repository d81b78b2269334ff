//! The `xhop` command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match xhop::cli::Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xhop: {error}");
            ExitCode::FAILURE
        }
    }
}
