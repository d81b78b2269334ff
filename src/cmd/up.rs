//! `xhop up`: joins containers.

use super::{execute, lock, need_privileges};
use crate::Result;
use crate::container::{Name, Namespaces, find};
use crate::plan::member::{Attach, ChecksumWay, Datapath};
use crate::plan::{Ground, Wish, record, up};
use crate::sys::kernel;

/// Joins the containers with each other, and with those that are joined on their bridge already. What
/// is up stays up; doing it again changes nothing.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The containers.
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<Name>,
    /// The hook that their packets take.
    #[arg(long, value_enum, default_value_t = Datapath::Native)]
    datapath: Datapath,
    /// What to do about checksums that senders leave to the device.
    #[arg(long, value_enum, default_value_t = ChecksumWay::Complete, value_name = "WAY")]
    checksum: ChecksumWay,
    /// How programs are attached [default: link, netlink before kernel 5.9].
    #[arg(long, value_enum)]
    attach: Option<Attach>,
    /// Take a foreign XDP program off a host side; `down` puts it back.
    #[arg(long)]
    force: bool,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the plan and the members as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    need_privileges()?;
    let _lock = lock()?;
    let namespaces = Namespaces::find()?;
    let ground = Ground::new(&namespaces);
    let containers =
        args.containers.iter().map(|name| find(name, &namespaces)).collect::<Result<Vec<_>>>()?;
    let attach = match args.attach {
        Some(attach) => attach,
        None if kernel::release()? >= (5, 9) => Attach::Link,
        None => Attach::Netlink,
    };
    let wish = Wish {
        containers: &containers,
        datapath: args.datapath,
        checksum: args.checksum,
        attach,
        force: args.force,
    };
    let plan = up(wish, &record::all()?, ground)?;
    execute(&plan, ground, args.dry_run, args.json, "joined")
}
