//! What can go wrong: each error names the thing and, in the same line, the remedy.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the crate. Displayed as one line; a verifier log follows on lines of its own.
#[derive(thiserror::Error)]
pub enum Error {
    /// A system call was refused.
    #[error("{call} on {on}: {} ({errno:?}): {hint}", errno.desc())]
    Sys {
        /// The call or its command, as the kernel names it.
        call: &'static str,
        /// What it was applied to.
        on: String,
        /// The kernel's answer.
        errno: Errno,
        /// What to do about it.
        hint: &'static str,
    },
    /// The kernel's verifier refused a program.
    #[error(
        "program {program}: the verifier refuses it ({errno:?}): report it with this log and `uname -r`\n{log}"
    )]
    Verifier {
        /// The program's name, with its configuration.
        program: String,
        /// The kernel's answer.
        errno: Errno,
        /// The verifier's log, whole.
        log: String,
    },
    /// A netlink request was refused.
    #[error("{call} on {on}: {} ({errno:?}): {}", errno.desc(), message.as_deref().unwrap_or(hint))]
    Netlink {
        /// The request, as the kernel names it.
        call: &'static str,
        /// What it was applied to.
        on: String,
        /// The kernel's answer.
        errno: Errno,
        /// The kernel's own words (extended ack), if it gave any.
        message: Option<String>,
        /// What to do about it when the kernel gave no words.
        hint: &'static str,
    },
    /// Rules of nf_tables have more sets than are looked into.
    #[error(
        "nf_tables: not all was looked into, for rules have more than {most} sets: `nft list ruleset` shows them"
    )]
    ManySets {
        /// How many are.
        most: usize,
    },
    /// Somebody captures the container already.
    #[error("{name}: another `xhop capture` reads what it sends: end that one first")]
    CapturedAlready {
        /// The container.
        name: String,
    },
    /// A container whose program is not where it was put.
    #[error(
        "{name}: its program is not attached: `xhop status` says why, `xhop up {name}` joins it again"
    )]
    NotUp {
        /// The container.
        name: String,
    },
    /// Frames of XDP can't be captured on this kernel.
    #[error(
        "{name}: it is joined by XDP, whose frames can be captured from kernel 5.18 on: join it with --datapath tc"
    )]
    NoCapture {
        /// The container.
        name: String,
    },
    /// A netlink reply can't be read.
    #[error("{call} on {on}: the kernel's reply is malformed: report it with `uname -r`")]
    Reply {
        /// The request, as the kernel names it.
        call: &'static str,
        /// What it was applied to.
        on: String,
    },
    /// There is no BPF file system and none could be mounted.
    #[error("{path}: no BPF file system: run `mount -t bpf bpf {path}` as root ({errno:?})", path = path.display())]
    NoBpffs {
        /// Where it should be.
        path: PathBuf,
        /// Why it could not be mounted.
        errno: Errno,
    },
    /// A file can't be used.
    #[error("{path}: {source}: {}", remedy(source), path = printable(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A pin holds something else than was looked for.
    #[error("{path}: is a {found}, not a {wanted}: remove it or pin elsewhere", path = path.display())]
    Pin {
        /// The pin.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// A key or value has not the size that the map wants.
    #[error("map {map}: {what} is {got} bytes long, pass {want}")]
    MapSize {
        /// The map's name.
        map: String,
        /// `key` or `value`.
        what: &'static str,
        /// The size that the map was created with.
        want: usize,
        /// The size of what was passed.
        got: usize,
    },
    /// An operation that this kind of map does not have.
    #[error("map {map} is a {kind}: {remedy}")]
    MapKind {
        /// The map's name.
        map: String,
        /// The kernel's name of its kind.
        kind: &'static str,
        /// What to use instead.
        remedy: &'static str,
    },
    /// The maps given for a program are not the ones that it declares.
    #[error("program {program}: map {index} does not match its declaration: pass {wanted}")]
    ProgramMaps {
        /// The program's name.
        program: String,
        /// Place in the program's list.
        index: usize,
        /// What is declared there.
        wanted: String,
    },
    /// An interface feature that can't be had.
    #[error("{ifname}: feature {feature}: {reason}")]
    Feature {
        /// The interface.
        ifname: String,
        /// The feature, as `ethtool -k` names it in full.
        feature: String,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// A container's name that can't be one.
    #[error("`{name}` names no container: {why}")]
    BadName {
        /// As it was given, made printable.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody has this name.
    #[error("{name}: there is no such container: {hint}")]
    NoSuchContainer {
        /// As it was given.
        name: String,
        /// Where to look.
        hint: &'static str,
    },
    /// Several things have this name.
    #[error("{name} is ambiguous: say which of {candidates}")]
    Ambiguous {
        /// As it was given.
        name: String,
        /// In full.
        candidates: String,
    },
    /// There is such a container, but it has no process.
    #[error("{name} is not running: start it with `{start}`")]
    NotRunning {
        /// Its name, with its kind.
        name: String,
        /// The command that starts it.
        start: String,
    },
    /// The Docker engine can't be asked.
    #[error("{socket}: the Docker engine does not answer: {why}: check that it runs", socket = socket.display())]
    Engine {
        /// Its socket.
        socket: PathBuf,
        /// What went wrong.
        why: String,
        /// There is none on this host.
        gone: bool,
    },
    /// The container has no veth whose other end can be found.
    #[error(
        "{name} has no veth to another namespace: only containers connected by a veth can be joined"
    )]
    NoVeth {
        /// The container.
        name: String,
    },
    /// The container's host side is on no bridge.
    #[error(
        "{name}: its host side {host} is on no bridge: put it on one with `ip link set {host} master BRIDGE`"
    )]
    NoBridge {
        /// The container.
        name: String,
        /// Its host side.
        host: String,
    },
    /// Two containers share no bridge.
    #[error(
        "{one} is on {one_on}, {other} on {other_on}: only containers on one bridge can be joined"
    )]
    DifferentBridges {
        /// One container.
        one: String,
        /// Its bridges.
        one_on: String,
        /// The other.
        other: String,
        /// Its bridges.
        other_on: String,
    },
    /// The containers share more than one bridge.
    #[error("all are on {bridges}: name each by the veth that is meant, as veth:IFNAME")]
    SeveralBridges {
        /// The bridges.
        bridges: String,
    },
    /// Two names of one container.
    #[error("{one} and {other} are the same container: name two different ones")]
    Same {
        /// One name.
        one: String,
        /// The other.
        other: String,
    },
    /// There is no such bridge.
    #[error("there is no bridge {name}: `ip link show type bridge` lists them")]
    NoSuchBridge {
        /// Its name, as it was given, made printable.
        name: String,
    },
    /// There is no such interface.
    #[error("there is no interface {name} here: `ip link` lists them")]
    NoSuchInterface {
        /// Its name, as it was given, made printable.
        name: String,
    },
    /// Who can't be in a chain, or what can't have one.
    #[error("{name} can't have or be in a chain: {why}")]
    NotForChain {
        /// The container or the NIC.
        name: String,
        /// The reason and the remedy.
        why: &'static str,
    },
    /// The NIC has a chain.
    #[error("{nic} has a chain already: take it down first with `xhop down --chain {nic}`")]
    ChainThere {
        /// The NIC.
        nic: String,
    },
    /// The NIC has none.
    #[error("{nic} has no chain: `xhop status` lists those there are")]
    NoChain {
        /// As it was given.
        nic: String,
    },
    /// What would go in at one end would come out nowhere.
    #[error(
        "{address} is no address of {last}, the last of the chain: add it there, or name last who has it"
    )]
    NotTheLasts {
        /// The address.
        address: std::net::IpAddr,
        /// The last container.
        last: String,
    },
    /// The chain would take what is for the host.
    #[error(
        "{address} is an address of {last}, the last of the chain, and of the host too, on {ifname}, which would get nothing more: take it off one of them, or say what goes in with `--match dst=ADDR`"
    )]
    HostsOwn {
        /// The address.
        address: std::net::IpAddr,
        /// The last container.
        last: String,
        /// The host's interface.
        ifname: String,
    },
    /// The one would take down what the other stands on.
    #[error(
        "{name} is in the chain of {nic}, and would be lost to it: take that down first with `xhop down --chain {nic}`; by `up`, `--datapath tc` goes beside it"
    )]
    InChain {
        /// The container.
        name: String,
        /// The chain's NIC.
        nic: String,
    },
    /// Likewise.
    #[error(
        "{name} is joined by {datapath} XDP, which a chain can't be beside: take it out with `xhop down {name}`, or join it with `--datapath tc`"
    )]
    JoinedByXdp {
        /// The container.
        name: String,
        /// The datapath.
        datapath: String,
    },
    /// A program where one of a chain's would be.
    #[error(
        "{ifname} bears {by} already, and a chain takes nobody's place: have its owner detach it, or take out with `xhop down` who is joined by native XDP"
    )]
    ChainOccupied {
        /// The interface.
        ifname: String,
        /// What is there.
        by: String,
    },
    /// `xhop watch` a second time.
    #[error(
        "another xhop watch runs: it watches all bridges unless it was given some; end it first"
    )]
    Watched,
    /// Nobody on a bridge can be joined.
    #[error(
        "there is no container on bridge {name} that is up and has an address: `ip link show master {name}` \
         lists its ports"
    )]
    EmptyBridge {
        /// Its name.
        name: String,
    },
    /// One container, and nobody to join it with.
    #[error("{name} is alone: name a second container on its bridge")]
    Alone {
        /// The container.
        name: String,
    },
    /// The kernel's own path would not, or not surely, let it talk.
    #[error("{name} can't be joined: {why}")]
    NotAllowed {
        /// The container.
        name: String,
        /// The reason and the remedy.
        why: &'static str,
    },
    /// An address that two containers have.
    #[error("{address} is the address of both {one} and {other}: take it off one of them")]
    SharedAddress {
        /// The address.
        address: std::net::IpAddr,
        /// One container.
        one: String,
        /// The other.
        other: String,
    },
    /// Two containers that could not be told apart.
    #[error("two containers with {what}: name each --container once, with all its addresses")]
    ContainerTwice {
        /// What they share.
        what: String,
    },
    /// Named to `down`, but not joined.
    #[error("{name} is not joined: `xhop status` lists who is")]
    NotJoined {
        /// The container.
        name: String,
    },
    /// The interface bears another program.
    #[error("{ifname} bears {by} already: --force takes it off, and down puts it back")]
    Occupied {
        /// The interface.
        ifname: String,
        /// What is there.
        by: String,
    },
    /// A joined container's host side bears another program by now.
    #[error(
        "{ifname} of {name}, which is joined, bears {by} by now: name {name} too, with --force, or take it out first with `xhop down {name}`"
    )]
    OccupiedMember {
        /// The container.
        name: String,
        /// Its host side.
        ifname: String,
        /// What is there.
        by: String,
    },
    /// The interface bears another program that could not be put back.
    #[error(
        "{ifname} bears {by}, which can't be replaced and given back: ask its owner to detach it (`bpftool link` shows it)"
    )]
    Linked {
        /// The interface.
        ifname: String,
        /// What is there.
        by: String,
    },
    /// tc would go round a container's own XDP program.
    #[error(
        "{ifname} of {name} has a native XDP program, which tc goes round: join with `--datapath native`, or with --force all the same"
    )]
    GoesRound {
        /// The container.
        name: String,
        /// Its end.
        ifname: String,
    },
    /// No XDP in the driver.
    #[error(
        "{ifname}: its driver has no native XDP in this kernel: veth has it from 4.19 on, of NICs many"
    )]
    NoNativeXdp {
        /// The interface.
        ifname: String,
    },
    /// A kernel without traffic control, or without BPF in it.
    #[error(
        "{ifname}: this kernel has no BPF in traffic control (neither tcx nor clsact with cls_bpf): join with `--datapath native`"
    )]
    NoTc {
        /// The interface.
        ifname: String,
    },
    /// Somebody else's filter where ours would stand.
    #[error(
        "{ifname}: another filter has priority 53248 and handle 1 on its ingress, which are ours: move it, or join with `--attach link`"
    )]
    FilterTaken {
        /// The interface.
        ifname: String,
    },
    /// A way with checksums asked for where none is lost.
    #[error(
        "--checksum is for native XDP alone: with --datapath {datapath} packets keep what they know of theirs; leave out one of the two"
    )]
    NoChecksumLost {
        /// The datapath.
        datapath: String,
    },
    /// Members of one bridge whose ways do not go together.
    #[error(
        "{one} is joined by {one_way}, {other} is to be by {other_way}, and the one would lose the other's packets: take {one} out first, or name both"
    )]
    MixedWays {
        /// A member.
        one: String,
        /// How it is joined.
        one_way: String,
        /// Another.
        other: String,
        /// How that one is to be joined.
        other_way: String,
    },
    /// Large packets by a hook that goes by the receiver's MTU (`veth_xdp_xmit`, `____dev_forward_skb`).
    #[error(
        "--jumbo is for tc alone: by {datapath} XDP a veth takes nothing larger than the MTU of its container's end; use --datapath tc"
    )]
    JumboByXdp {
        /// The datapath.
        datapath: String,
    },
    /// Links asked for where traffic control has none.
    #[error(
        "--attach link: this kernel has no links in traffic control (tcx, from 6.6): leave it out, or use --attach netlink"
    )]
    NoTcLinks,
    /// Generic XDP on a kernel that does not load its program.
    #[error(
        "--datapath generic: its program takes packets in several pieces, which XDP has from kernel 5.18 on: use --datapath tc"
    )]
    NoFrags,
    /// Frames asked for of a kernel that makes none.
    #[error("bench --frames: the kernel makes the frames, and can from 5.18 on: use a newer one")]
    NoLiveFrames,
    /// Large packets on a kernel whose `bpf_redirect_peer` asks for the receiver's MTU (`is_skb_forwardable`).
    #[error(
        "--jumbo: this kernel's bpf_redirect_peer loses what is larger than the receiver's MTU (no more from 5.12 on): leave it out"
    )]
    NoJumbo,
    /// A kernel that can't send larger segments.
    #[error("--big-tcp: {why}: leave it out")]
    NoBigTcp {
        /// Why not.
        why: &'static str,
    },
    /// A veth whose far end has a larger MTU than native XDP takes.
    #[error(
        "{ifname}: its peer's MTU is too large for native XDP: set it to at most 3000 with `ip link set IFNAME mtu 1500` in the container"
    )]
    PeerMtu {
        /// The interface.
        ifname: String,
    },
    /// A host's end that does not take large packets.
    #[error(
        "{ifname}: its MTU can't be raised to {mtu}, as generic XDP and --jumbo need it: the container's end runs native XDP; join with `--datapath native`"
    )]
    HostMtu {
        /// The interface.
        ifname: String,
        /// The wanted one.
        mtu: u32,
    },
    /// Somebody else's interface where the port would be that keeps a bridge's MTU.
    #[error(
        "{ifname} is not ours, and has the name of the port that keeps the MTU of {bridge}: rename it with `ip link set {ifname} name NAME`"
    )]
    GuardTaken {
        /// The interface.
        ifname: String,
        /// The bridge.
        bridge: String,
    },
    /// An interface that was there a moment ago.
    #[error("{ifname} is gone: has its container ended? Look again and retry")]
    InterfaceGone {
        /// Its name.
        ifname: String,
    },
    /// No namespace can be found, not even our own.
    #[error("/proc/thread-self/ns/net: no network namespace is found: mount /proc")]
    NamespaceGone,
    /// A record that can't be used.
    #[error("{path}: {why}: not a record of this xhop: remove it, or use the xhop that wrote it", path = path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A record of another version.
    #[error(
        "{path}: a record of version {found}, this xhop has {wanted}: run `xhop down --all` with the xhop that wrote it, or remove it if the machine was restarted since", path = path.display()
    )]
    RecordVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        wanted: u32,
    },
    /// A folder of ours that somebody else can write to.
    #[error("{path}: not a folder of root's alone (0700): look what is in it, then remove it", path = path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// A veth whose far end is in a namespace that no path leads to.
    #[error(
        "{ifname}: the namespace of an end of its veth can't be found: run this where /proc shows the container's processes"
    )]
    Unreachable {
        /// An end.
        ifname: String,
    },
    /// Our program is attached, but the pin that holds it is gone.
    #[error("{ifname} bears our program {prog_id}, but its pin is gone: {take_off} takes it off")]
    PinLost {
        /// The interface.
        ifname: String,
        /// The program.
        prog_id: u32,
        /// What does, in its namespace.
        take_off: String,
    },
    /// Something could not be taken back; the rest was.
    #[error(
        "could not {action}: {error}: all else is taken back; mend that, then run the command again"
    )]
    Left {
        /// The step.
        action: String,
        /// Why not.
        error: Box<Error>,
    },
    /// A step failed, and so did taking back an earlier one.
    #[error("{error}; and could not {undo}: {left}: `xhop down --all` takes back what is left")]
    HalfDone {
        /// What failed first.
        error: Box<Error>,
        /// The step that could not be taken.
        undo: String,
        /// Why not.
        left: Box<Error>,
    },
    /// Capabilities that are needed and missing.
    #[error(
        "this needs {missing}: run it as root, for example with sudo, where root has not been deprived of that; without root, `xhop vm` runs the same programs in userspace"
    )]
    Privileges {
        /// Their names.
        missing: String,
    },
    /// No program and no file has this name.
    #[error("{name}: neither a file nor a program of this xhop, which has {names}", name = printable(name))]
    NoSuchProgram {
        /// As it was given.
        name: PathBuf,
        /// All that there are.
        names: String,
    },
    /// A file that no code can be read from.
    #[error("{file}: {why}", file = printable(file))]
    Code {
        /// As it was given.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// Programs that the lint refuses.
    #[error("{what}: not to be loaded: findings: {count}", what = printable(what))]
    Findings {
        /// The file or the program.
        what: PathBuf,
        /// How many.
        count: usize,
    },
    /// Bytes that a terminal can't show.
    #[error("{format} is not for a terminal: write it to a file with `> FILE`")]
    Terminal {
        /// What was asked for.
        format: &'static str,
    },
    /// A program of ours that does not assemble.
    #[error("a program does not assemble: {0}: report it")]
    Assemble(xhop_asm::Error),
    /// Packets that should have arrived did not.
    #[error(
        "traffic to {to}: {source}: containers that are measured must let each other's packets in: look for a firewall in them"
    )]
    NoTraffic {
        /// The receiving container's address.
        to: std::net::IpAddr,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A pair whose plain path is to be measured is joined.
    #[error(
        "joined already: {names}; the plain path is to be measured too: run `xhop down {names}` first"
    )]
    Joined {
        /// Those who are.
        names: String,
    },
    /// A joined pair whose packets go another way.
    #[error(
        "{one} and {other} are joined ({way}), but the packets to {to} do not hop: do they go by a router?"
    )]
    NotDirect {
        /// The sending container.
        one: String,
        /// The receiving one.
        other: String,
        /// How they are joined.
        way: &'static str,
        /// The receiver's address.
        to: std::net::IpAddr,
    },
    /// The user wants no more of it.
    #[error("interrupted: all is as it was found")]
    Interrupted,
    /// A checksum routine that gives a wrong sum.
    #[error(
        "the checksum of {bytes} bytes is {got:#06x}, not {expected:#06x}: report it with `uname -a`"
    )]
    WrongSum {
        /// Length of the segment.
        bytes: usize,
        /// The right sum, as a native number.
        expected: u32,
        /// What the program gave.
        got: u32,
    },
    /// A capture that can't be used.
    #[error("{path}: {why}", path = printable(path))]
    Capture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A program that can't be run in userspace.
    #[error("{0}")]
    Vm(xhop_vm::Error),
    /// A packet that a program can't be run on.
    #[error("packet {number}: {error}")]
    Packet {
        /// Its place in the capture, from 1 on.
        number: usize,
        /// Why not.
        error: xhop_vm::Error,
    },
    /// What is in the kernel is not as listed.
    #[error(
        "not all is as listed: {deviations} deviations and {unknown} things that could not be seen are marked above"
    )]
    Audit {
        /// What is otherwise.
        deviations: usize,
        /// What the kernel does not show.
        unknown: usize,
    },
    /// What the doctor has found.
    #[error("not healthy: findings: {count}: each is told above, with what to do")]
    Unhealthy {
        /// How many.
        count: usize,
    },
    /// A value that JSON can't hold.
    #[error("JSON: {0}: report it")]
    Json(String),
}

impl Error {
    /// The kernel's answer, if the error is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Sys { errno, .. }
            | Self::Verifier { errno, .. }
            | Self::Netlink { errno, .. }
            | Self::NoBpffs { errno, .. } => Some(*errno),
            Self::Io { source, .. } => source.raw_os_error().map(Errno::from_raw),
            _ => None,
        }
    }

    /// For `map_err` on a system call.
    pub(crate) fn sys(call: &'static str, on: impl ToString) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Sys { call, on: on.to_string(), errno, hint: hint(errno) }
    }

    /// For `map_err` on a file operation.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.into(), source }
    }
}

/// As it is displayed: it has nothing to hide, and its fields by name would be 4 KB of the binary.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A path in one line, whatever is in it.
pub(crate) fn printable(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

/// The usual remedy where a file can't be used.
fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "look whether the name is right",
        ErrorKind::PermissionDenied => "run as somebody who may use it",
        ErrorKind::IsADirectory => "name a file in it",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room there",
        _ => "check that it is what it should be, and that you may use it",
    }
}

/// The usual remedy for an answer of the kernel.
pub(crate) fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM | Errno::EACCES => "run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN",
        Errno::EBUSY => "something else is attached there: detach it first",
        Errno::EEXIST => "it exists already: remove it or choose another name",
        Errno::ENOENT | Errno::ENODEV | Errno::ENXIO | Errno::ENOLINK => {
            "it is gone or was never there: look again"
        }
        Errno::ERANGE => "the MTU is too large for XDP: lower it or use a frags program",
        Errno::ENOMEM | Errno::ENOSPC | Errno::E2BIG => "out of room: ask for less",
        Errno::EINVAL => "something in it does not exist, or the kernel is too old: look again",
        Errno::EOPNOTSUPP | Errno::ENOTTY => "the kernel or the driver does not have it",
        Errno::ESTALE => "it was replaced meanwhile: read it again and retry",
        _ => "see the call's manual page",
    }
}
