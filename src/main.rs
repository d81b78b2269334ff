//! The `xhop` command.

#![deny(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

/// Only where it is true what the file says: in a static binary that aborts on a panic.
#[cfg(all(target_env = "gnu", target_feature = "crt-static", panic = "abort"))]
#[path = "sys/glibc.rs"]
#[allow(unsafe_code)]
mod glibc;

fn main() -> ExitCode {
    match xhop::cli::Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            xhop::cmd::warn(format_args!("xhop: {error}"));
            ExitCode::FAILURE
        }
    }
}
