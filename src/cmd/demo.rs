//! `xhop demo`.
#[derive(clap::Args, Debug)]
pub struct Args {}
/// Runs the command.
pub fn run(_: Args) -> crate::Result<()> {
    Ok(())
}
