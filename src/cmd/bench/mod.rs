//! `xhop bench`: what the programs cost.

mod checksum;

use crate::Result;

/// What to measure.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Time the checksum routines: ours, and the two-byte loop of the report that this tool began with.
    #[arg(long, required = true)]
    checksum: bool,
    /// How often each is measured, in turn; medians are shown.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    checksum::run(args.rounds, args.json)
}
