//! `xhop up`: joins containers.

use std::time::{Duration, Instant};

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::rights::Rights;
use super::{execute, lock};
use crate::container::{Container, Name, Namespaces, behind, bridge_named, find, ports};
use crate::plan::way::{Asked, Attach, ChecksumWay};
use crate::plan::{Ground, Plan, Wishes, carry_out, handful, not_ready, record, rules, up};
use crate::{Error, Result};

/// How long a port may take to forward.
const PATIENCE: Duration = Duration::from_millis(500);

/// What to join.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The containers.
    #[arg(required_unless_present = "bridge", value_name = "CONTAINER")]
    containers: Vec<Name>,
    /// All containers on this bridge. Who has no address yet, or is down, is left out.
    #[arg(long, value_name = "IFNAME", conflicts_with = "containers")]
    bridge: Option<String>,
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
    /// The hook that their packets take; `auto` is that of who is joined on their bridge already, or else
    /// tc, the best for what sockets send, but native where a container has a native XDP program of its own.
    #[arg(long, value_enum, default_value_t = Asked::Auto)]
    pub datapath: Asked,
    /// What to do about checksums that senders leave to the device, which native XDP loses [default:
    /// complete]; asks for `--datapath native`.
    #[arg(long, value_enum, value_name = "WAY")]
    pub checksum: Option<ChecksumWay>,
    /// How programs are attached [default: link, for tc before kernel 6.6 netlink].
    #[arg(long, value_enum)]
    pub attach: Option<Attach>,
    /// Let the containers' TCP over IPv4 send up to 192 KiB at once instead of 64 (kernels from 6.3).
    ///
    /// Faster in bulk between them. What they send out by a NIC is then cut up by the host's processor
    /// and not by the NIC: not for containers that send much to the outside. Left open, it is as the container
    /// is joined already, or else as others on its bridge are by the same datapath.
    #[arg(long, value_name = "on|off", num_args = 0..=1, require_equals = true,
          default_missing_value = "on", value_parser = switch())]
    pub big_tcp: Option<bool>,
    /// Let the containers send packets of up to 65520 bytes to each other, and to nobody else.
    ///
    /// By a route in each container to each other one, with that MTU; their interfaces stay as they are,
    /// those of the host's side take more. Of large packets what does not hop is lost: run `up` again when an
    /// address or a container has changed. Not for hundreds of containers: each gets a route to each. Left open,
    /// it is as with --big-tcp.
    #[arg(long, value_name = "on|off", num_args = 0..=1, require_equals = true,
          default_missing_value = "on", value_parser = switch())]
    pub jumbo: Option<bool>,
    /// Take a foreign XDP program off a host side (`down` puts it back), and join what the bridge or the
    /// engine keeps apart; join by tc who has a native XDP program of his own, which that goes round.
    #[arg(long)]
    pub force: bool,
}

/// Of an option that can be switched off too.
fn switch() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["on", "off"]).map(|value| value == "on")
}

impl Join {
    /// What of it is for the plan: all.
    pub fn wishes(self) -> Wishes {
        let Self { datapath: asked, checksum, attach, big_tcp, jumbo, force } = self;
        Wishes { asked, checksum, attach, big_tcp, jumbo, force }
    }
}

impl Default for Join {
    /// As on a command line without options.
    fn default() -> Self {
        Self {
            datapath: Asked::Auto,
            checksum: None,
            attach: None,
            big_tcp: None,
            jumbo: None,
            force: false,
        }
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    Rights::JOIN.take()?;
    let _lock = lock(args.dry_run)?;
    let namespaces = Namespaces::find()?;
    let mut plan = match &args.bridge {
        Some(bridge) => plan_bridge(bridge, args.join, &namespaces)?,
        None => plan(&args.containers, args.join, &namespaces)?,
    };
    let ground = Ground::new(&namespaces);
    let told = rules(&plan.members, ground);
    plan.warnings.extend(if args.json { told } else { handful(told) });
    execute(plan, ground, args.dry_run, args.json, "joined")
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
    let find = |name| settled(|| find(name, namespaces), is_late);
    let containers = names.iter().map(find).collect::<Result<Vec<_>>>()?;
    up(&containers, join.wishes(), &record::places()?, Ground::new(namespaces))
}

/// The kernel lets a port forward a moment after its veth is up, and a container may have just begun.
fn settled<T>(find: impl Fn() -> Result<T>, is_late: impl Fn(&T) -> bool) -> Result<T> {
    let begun = Instant::now();
    loop {
        let found = find()?;
        if begun.elapsed() >= PATIENCE || !is_late(&found) {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether all is up, but for a port that does not forward.
fn is_late(container: &Container) -> bool {
    container.attachments.iter().any(|attachment| {
        let bridge = attachment.bridge.as_ref().is_some_and(|bridge| bridge.link.up);
        let up = bridge && attachment.host_link.up && attachment.inside_link.up;
        up && attachment.host_link.forwarding == Some(false)
    })
}

/// The same, of all who are ready on a bridge; of the others it warns.
fn plan_bridge(bridge: &str, join: Join, namespaces: &Namespaces) -> Result<Plan> {
    let bridge = bridge_named(bridge, namespaces)?;
    let (mut ready, mut warnings) = (Vec::new(), Vec::new());
    for port in ports(&bridge, namespaces)? {
        let is_late = |found: &Option<Container>| found.as_ref().is_some_and(is_late);
        let found = settled(|| behind(&port, namespaces), is_late)?;
        let Some(container) = found else { continue };
        match container.attachments.iter().find_map(not_ready) {
            Some(why) => warnings.push(format!("{} is left out: {why}", container.name)),
            None => ready.push(container),
        }
    }
    if ready.is_empty() {
        return Err(Error::EmptyBridge { name: bridge.name });
    }
    let ground = Ground::new(namespaces);
    let mut plan = up(&ready, join.wishes(), &record::places()?, ground)?;
    plan.warnings.extend(warnings);
    Ok(plan)
}
