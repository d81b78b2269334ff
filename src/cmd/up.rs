//! `xhop up`: joins containers.

use super::{execute, lock, need_privileges};
use crate::Result;
use crate::container::{Name, Namespaces, find};
use crate::plan::member::{Attach, ChecksumWay, Datapath};
use crate::plan::{Ground, Plan, Ways, carry_out, record, up};
use crate::sys::kernel;

/// What to join.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The containers.
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<Name>,
    /// How they are joined.
    #[command(flatten)]
    join: Join,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the plan and the members as JSON.
    #[arg(long)]
    json: bool,
}

/// How containers are joined.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Join {
    /// The hook that their packets take.
    #[arg(long, value_enum, default_value_t = Datapath::Native)]
    pub datapath: Datapath,
    /// What to do about checksums that senders leave to the device.
    #[arg(long, value_enum, default_value_t = ChecksumWay::Complete, value_name = "WAY")]
    pub checksum: ChecksumWay,
    /// How programs are attached [default: link, netlink before kernel 5.9].
    #[arg(long, value_enum)]
    pub attach: Option<Attach>,
    /// Take a foreign XDP program off a host side (`down` puts it back), and join what the bridge or the
    /// engine keeps apart.
    #[arg(long)]
    pub force: bool,
}

impl Default for Join {
    /// As on a command line without options.
    fn default() -> Self {
        Self {
            datapath: Datapath::Native,
            checksum: ChecksumWay::Complete,
            attach: None,
            force: false,
        }
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    need_privileges()?;
    let _lock = lock(args.dry_run)?;
    let namespaces = Namespaces::find()?;
    let plan = plan(&args.containers, args.join, &namespaces)?;
    execute(plan, Ground::new(&namespaces), args.dry_run, args.json, "joined")
}

/// Joins without a word.
pub fn join(names: &[Name], join: Join) -> Result<Plan> {
    let _lock = lock(false)?;
    let namespaces = Namespaces::find()?;
    let mut plan = plan(names, join, &namespaces)?;
    plan.warnings.extend(carry_out(&plan, Ground::new(&namespaces))?);
    Ok(plan)
}

/// What would be done.
pub fn plan(names: &[Name], join: Join, namespaces: &Namespaces) -> Result<Plan> {
    let containers = names.iter().map(|name| find(name, namespaces)).collect::<Result<Vec<_>>>()?;
    let attach = match join.attach {
        Some(attach) => attach,
        None if kernel::release()? >= (5, 9) => Attach::Link,
        None => Attach::Netlink,
    };
    let Join { datapath, checksum, force, .. } = join;
    let ways = Ways { datapath, checksum, attach, force };
    up(&containers, ways, &record::places()?, Ground::new(namespaces))
}
