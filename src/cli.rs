//! The command line.

use clap::{Parser, Subcommand};

use crate::cmd;

/// Joins containers on one Linux host directly: BPF programs on their veths let packets hop from one
/// to the other without bridge and netfilter.
#[derive(Parser, Debug)]
#[command(name = "xhop", version, arg_required_else_help = true)]
#[command(
    after_help = "A container is named netns:NAME, pid:N, docker:NAME, veth:IFNAME (its host \
side), or by a bare NAME that only one of these has.\n\nExit codes: 0 done, 1 failed, 2 wrong usage.\n\
Newcomers start with `xhop demo`."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Join containers: their packets to each other take the direct path.
    Up(cmd::up::Args),
    /// Take containers out again, and give back every setting that was changed.
    Down(cmd::down::Args),
    /// Show who is joined, how, and what became of their packets.
    Status(cmd::status::Args),
    /// Show the whole experiment on two throw-away containers.
    Demo(cmd::demo::Args),
    /// Measure.
    Bench(cmd::bench::Args),
}

impl Command {
    /// Does it.
    pub fn run(self) -> crate::Result<()> {
        match self {
            Self::Up(args) => cmd::up::run(args),
            Self::Down(args) => cmd::down::run(args),
            Self::Status(args) => cmd::status::run(args),
            Self::Demo(args) => cmd::demo::run(args),
            Self::Bench(args) => cmd::bench::run(args),
        }
    }
}
