//! The command line.

use clap::{Parser, Subcommand};

use crate::cmd;

/// Joins containers on one Linux host directly: BPF programs on their veths let packets hop from one
/// to the other without bridge and netfilter.
#[derive(Parser, Debug)]
#[command(name = "xhop", version, arg_required_else_help = true)]
#[command(
    after_help = "A container is named netns:NAME, pid:N, docker:NAME, podman:NAME, nspawn:NAME, lxc:NAME, \
veth:IFNAME (its host side), or by a bare NAME that only one of these has.\n\nExit codes: 0 done, 1 failed, 2 wrong usage.\n\
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
    ///
    /// They are joined with each other, and with those that are joined on their bridge already. What is up
    /// stays up; doing it again changes nothing.
    Up(cmd::up::Args),
    /// Take containers out again, and give back every setting that was changed.
    ///
    /// One that is gone is named as it was when it was joined.
    Down(cmd::down::Args),
    /// Make a service chain: what comes by a NIC goes through containers, one after the other.
    ///
    /// Frames for the last container's addresses (--match: for some of them) are redirected into the first
    /// one, whose own XDP program looks at them and answers XDP_TX; then into the next, and so on. The last
    /// one's stack gets them. Where a container has no XDP program, one is attached that answers XDP_TX to all
    /// that is in the chain. What the containers send of themselves takes its usual way. `xhop down --chain NIC`
    /// takes it down.
    Chain(cmd::chain::Args),
    /// Stay, and join who comes to a bridge; take out who goes; mend what others change.
    ///
    /// Who is joined when it ends stays joined, unless --down-on-exit says otherwise; the next one goes on from
    /// there. A line is printed for each thing done. For systemd it is a service of Type=notify.
    Watch(cmd::watch::Args),
    /// Show who is joined, how, and what became of their packets.
    ///
    /// Packets are counted where they leave a container: forwarded to the destination's veth; passed to the
    /// kernel (not for a joined container, or not understood); stale and spoofed (passed to the kernel too:
    /// the destination's veth is gone; the source address is another joined container's).
    Status(cmd::status::Args),
    /// Check that the kernel runs just what this xhop would load, and that nobody else has BPF there.
    ///
    /// For each program of the joined containers: how it is attached, its tag, its maps, the translated
    /// instructions mapped back to ours; and who else is on those interfaces and maps. Exit code 0 only if
    /// all is as listed: what the kernel does not let be seen is not.
    Audit(cmd::audit::Args),
    /// Try what this kernel can do; with two containers, send probes both ways, and say what is wrong.
    ///
    /// Each feature is tried, and "no" is told from "could not tell". Of each probe it is said how far it got, and
    /// of what is wrong the cause and what to do. Nothing is changed. Exit code 0 only if all is well.
    Doctor(cmd::doctor::Args),
    /// Capture what comes by the programs of joined containers, with what becomes of each packet.
    ///
    /// On the bridge what hops is not seen. It is captured where it leaves a container: what the containers send; of one
    /// alone also what others on its bridge send to it. A line a packet, or a pcapng file, in which the verdict is a comment.
    /// While it runs, their programs are those with `+capture`; no packet is lost by the change, and what the
    /// capture could not take is counted.
    Capture(cmd::capture::Args),
    /// Show the whole experiment on two throw-away containers.
    ///
    /// Makes two network namespaces on a bridge, joins them in each way, and shows what each does. All of it
    /// is in namespaces of its own and vanishes when it ends, also on Ctrl-C.
    Demo(cmd::demo::Args),
    /// Measure the path from one container to another, in each way to join them, beside the plain one.
    ///
    /// By rounds, the ways in an order that changes: TCP throughput, round trips and connections, UDP datagrams,
    /// processor time. All is as it was found when it ends, also on Ctrl-C. With --checksum: what the
    /// programs cost. With --frames: what frames from a NIC would gain.
    Bench(cmd::bench::Args),
    /// List every program that this binary can ever load.
    ///
    /// With the hashes by which each is known. The tag is what kernels on little-endian machines call it: the
    /// first 8 bytes of SHA-1, from 6.18 of SHA-256; before 5.14 they get maps by descriptor.
    Programs(cmd::programs::Args),
    /// Show a program: instruction by instruction with reason and source, or for other tools.
    Show(cmd::show::Args),
    /// Disassemble any bytes: raw, hex text, or the code of an ELF object.
    ///
    /// A slot that is no instruction stands after a `?`.
    Disasm(cmd::disasm::Args),
    /// Walk every path of a program for XDP or traffic control: what it reads, writes, calls and returns, and what is wrong with it.
    ///
    /// What it does is told if nothing is wrong with it: the facts are proved of every path. Maps are known of
    /// programs and of ELF objects. Exit code 1 if there are findings.
    Lint(cmd::lint::Args),
    /// Run a program on a capture, here and now, without root.
    ///
    /// It runs in userspace, on the bytes that the kernel would get: what it says of each packet, where it
    /// sends it, and what it changes.
    Vm(cmd::vm::Args),
}

impl Command {
    /// Does it.
    pub fn run(self) -> crate::Result<()> {
        match self {
            Self::Up(args) => cmd::up::run(args),
            Self::Down(args) => cmd::down::run(args),
            Self::Chain(args) => cmd::chain::run(args),
            Self::Watch(args) => cmd::watch::run(args),
            Self::Status(args) => cmd::status::run(args),
            Self::Audit(args) => cmd::audit::run(args),
            Self::Doctor(args) => cmd::doctor::run(args),
            Self::Capture(args) => cmd::capture::run(args),
            Self::Demo(args) => cmd::demo::run(args),
            Self::Bench(args) => cmd::bench::run(args),
            Self::Programs(args) => cmd::programs::run(args),
            Self::Show(args) => cmd::show::run(args),
            Self::Disasm(args) => cmd::disasm::run(args),
            Self::Lint(args) => cmd::lint::run(args),
            Self::Vm(args) => cmd::vm::run(args),
        }
    }
}
