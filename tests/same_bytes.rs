//! The kernel and the VM run the same bytes, and do the same with them.

mod generate;
mod lab;

use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use generate::Dice;
use lab::raw::{Raw, load};
use lab::{HOST, lab, load_xdp};
use nix::errno::Errno;
use serde_json::Value;
use xhop::Error;
use xhop::sys::bpf::{Context, Map, Prog, Ring, SkBuff, TestRun, XdpMd, possible_cpus};
use xhop::sys::kernel;
use xhop_asm::blocks::count::{VERDICTS, Verdict};
use xhop_asm::blocks::{Family, capture, chain, count, endpoint};
use xhop_asm::insn::{BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_IDX, SLOT};
use xhop_asm::programs::{Checksum, Method, Shipped, forward};
use xhop_asm::tag::{self, MapRefs, TagKind};
use xhop_asm::{
    Assembler, ByteOrder, Helper, Hook, Insn, MapDecl, Pointer, Program, R0, R1, R2, R3, R4, R5,
    R6, R7, tc, xdp, xdp::xdp_md,
};
use xhop_vm::Vm;
use xhop_vm::packet::{A, B, Case, Host, catalogue, host};

/// The loopback, by which the kernel lets a test packet come in.
const INGRESS: u32 = 1;
/// The most bytes of a packet that are told: fewer than some have.
const SNAPLEN: u32 = 1000;
/// The other container's host side.
const PORT: &str = "veth-b";

/// Who is joined: what the maps hold.
#[derive(Clone, Copy)]
struct Joined<'a> {
    name: &'a str,
    /// Each with the index of its host side.
    endpoints: &'a [(Host, u32)],
    ports: &'a [u32],
}

/// One entry for a map of this name.
type Entry = (&'static str, Vec<u8>, Vec<u8>);

impl Joined<'_> {
    fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (host, ifindex) in self.endpoints {
            let value = endpoint::value::encode(*ifindex, host.mac).to_vec();
            entries.push((endpoint::endpoints(Family::V4).name, host.v4.to_vec(), value.clone()));
            entries.push((endpoint::endpoints(Family::V6).name, host.v6.to_vec(), value));
        }
        // A chain of whom the packets are for, and back.
        for (host, ifindex) in self.endpoints.iter().filter(|(host, _)| host.v4 == B.v4) {
            let value = chain::hop::encode(&[*ifindex], host.mac, A.mac).to_vec();
            let back = chain::hop::encode(&[*ifindex], A.mac, host.mac).to_vec();
            for (hops, value) in [(chain::hops(), value), (chain::hops_back(), back)] {
                entries.push((hops.name, INGRESS.to_ne_bytes().to_vec(), value));
            }
        }
        for address in self.endpoints.iter().flat_map(|(host, _)| [host.v4.into(), host.v6.into()])
        {
            let key = chain::key::encode(address, 0, 0, 0).to_vec();
            entries.push((chain::matches().name, key, vec![0; 4]));
        }
        for port in self.ports {
            let index = port.to_ne_bytes().to_vec();
            entries.push((endpoint::ports().name, index.clone(), index));
        }
        entries
    }
}

/// A program in both machines, with the same in the maps.
struct Both {
    prog: Prog,
    kernel_maps: Vec<Map>,
    vm: Vm,
    program: Program,
    /// Of a program that tells of packets.
    ring: Option<Ring>,
}

impl Both {
    fn new(shipped: Shipped, joined: Joined) -> Self {
        let program = shipped.program().expect("assembles");
        let (prog, kernel_maps) = load_shipped(shipped);
        let prog = prog.expect("loads");
        // The lint takes longer than all that is run, and has tests of its own.
        let vm = Vm::unlinted(&program).expect("runs in the VM");
        for (name, key, value) in joined.entries() {
            let Some(index) = program.maps().iter().position(|decl| decl.name == name) else {
                continue;
            };
            kernel_maps[index].update(&key, &value).expect("an entry");
            vm.map(name).expect("declared").insert(&key, &value).expect("an entry");
        }
        let mut both = Self { prog, kernel_maps, vm, program, ring: None };
        if let Some(tally) = both.place(&capture::tally()) {
            let mut value = [0; capture::tally::SIZE];
            let snaplen = capture::tally::SNAPLEN as usize;
            value[snaplen..].copy_from_slice(&u64::from(SNAPLEN).to_ne_bytes());
            let all = value.repeat(possible_cpus().expect("CPUs"));
            both.kernel_maps[tally].update(&[0; 4], &all).expect("a tally");
            both.vm.maps()[tally].insert([0; 4], value).expect("a tally");
            let ring = both.place(&capture::ring()).expect("a ring");
            let ring = Map::by_id(both.kernel_maps[ring].info().id).expect("opens");
            both.ring = Some(Ring::open(ring).expect("is mapped"));
        }
        both
    }

    /// Runs a frame in both; gives the verdict, or `None` if the kernel has no skb for it or does not sum so much.
    /// What the kernel knows of an skb beside its bytes is not
    /// compared, since a test run does not give it back: `pkt_type`, which it sets from the Ethernet
    /// address (`eth_type_trans`), and the checksum's state.
    fn run(&mut self, case: &Case) -> Option<u32> {
        let len = u32::try_from(case.frame.len()).expect("a frame");
        let ctx = match self.program.hook() {
            Hook::Tc => Context::Tc(SkBuff::of(INGRESS)),
            Hook::Xdp | Hook::XdpFrags => {
                Context::Xdp(XdpMd { data_end: len, ingress_ifindex: INGRESS, ..XdpMd::default() })
            }
        };
        // Before 5.15 XDP takes no context, and comes in by the loopback anyway.
        let takes = self.program.hook() == Hook::Tc || release() >= (5, 15);
        let frame = &self.given(&case.frame);
        let run = TestRun { data_in: frame, ctx_in: takes.then_some(ctx), repeat: 1 };
        let kernel = match self.prog.test_run(&run) {
            Err(e) if e.errno() == Some(Errno::EINVAL) && self.is_no_skb(&case.frame) => {
                return None;
            }
            kernel => kernel.unwrap_or_else(|e| panic!("{}: {e}", case.name)),
        };
        let vm = self.vm.run(frame, INGRESS);
        let vm = vm.unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let name = self.program.name();
        let one_call = Shipped::Measure(Method::OneCall).name();
        if name == one_call && kernel.retval == Method::REFUSED as u32 {
            // The VM sums as kernels from 6.13 do.
            assert!(release() < (6, 13), "{}", case.name);
            return None;
        }
        assert_eq!(u64::from(kernel.retval), vm.verdict, "{name}, {}: {vm:?}", case.name);
        assert_eq!(kernel.data_out, vm.packet, "{name}, {}", case.name);
        if let Some(ring) = &mut self.ring {
            let mut told = Vec::new();
            ring.drain(&mut |record| told.push(record));
            // But for the time.
            let rest = |records: &[Vec<u8>]| -> Vec<Vec<u8>> {
                let from = capture::record::VERDICT as usize;
                records.iter().map(|record| record[from..].to_vec()).collect()
            };
            assert_eq!(told.len(), 1, "{name}, {}", case.name);
            assert_eq!(rest(&told), rest(&vm.told), "{name}, {}", case.name);
        }
        Some(kernel.retval)
    }

    /// Within a chain, frames bear its mark; here some that of the way back.
    fn given(&self, frame: &[u8]) -> Vec<u8> {
        let within = [Shipped::Next, Shipped::NextBack, Shipped::Bounce].map(Shipped::name);
        let (mut frame, case_is_odd) = (frame.to_vec(), frame.len() % 2 == 1);
        if let (true, Some(source)) = (within.contains(&self.program.name()), frame.get_mut(6..12))
        {
            source.copy_from_slice(if case_is_odd { &chain::BACK } else { &chain::MARK });
        }
        frame
    }

    /// Frames of which newer kernels make no skb: without the IP header that their EtherType tells of, or
    /// with nothing behind it (`bpf_prog_test_run_skb`). The VM runs them in `cut_at_every_length`.
    fn is_no_skb(&self, frame: &[u8]) -> bool {
        let needs = match frame.get(12..14) {
            Some([0x08, 0x00]) => 14 + 20,
            Some([0x86, 0xdd]) => 14 + 40,
            _ => 15,
        };
        self.program.hook() == Hook::Tc && frame.len() < needs
    }

    /// Where in the program's list a map is.
    fn place(&self, decl: &MapDecl) -> Option<usize> {
        self.program.maps().iter().position(|map| map == decl)
    }

    /// The counters, which must be the same in both: packets by verdict.
    fn counters(&self) -> Option<[u64; 4]> {
        let decl = count::stats();
        let index = self.place(&decl)?;
        Some(VERDICTS.map(|verdict| {
            let key = (verdict as u32).to_ne_bytes();
            let cpus = self.kernel_maps[index].lookup_percpu(&key).expect("a lookup");
            let kernel = cpus.into_iter().flatten().fold([0, 0], add);
            let vm = self.vm.map(decl.name).expect("declared").get(key).expect("a lookup");
            assert_eq!(kernel, add([0, 0], vm.expect("a slot")), "{verdict:?}");
            kernel[0]
        }))
    }
}

/// With new maps.
fn load_shipped(shipped: Shipped) -> (xhop::Result<Prog>, Vec<Map>) {
    let program = shipped.program().expect("assembles");
    let maps: Vec<Map> =
        program.maps().iter().map(|decl| Map::create(decl).expect("a map")).collect();
    let refs: Vec<&Map> = maps.iter().collect();
    (Prog::load(shipped, &refs), maps)
}

/// Those that this kernel has to take: before 5.18 XDP has no frags and gives no frame away, and it refuses who
/// wants that.
fn loadable() -> Vec<Shipped> {
    let new = release() >= (5, 18);
    let (wanted, refused): (Vec<_>, Vec<_>) = Shipped::ALL.into_iter().partition(|shipped| {
        let program = shipped.program().expect("assembles");
        let gives = program.helpers().contains(&Helper::XDP_LOAD_BYTES);
        new || program.hook() != Hook::XdpFrags && !gives
    });
    for shipped in refused {
        let error = load_shipped(shipped).0.expect_err("neither");
        let errno = match error {
            Error::Verifier { errno, .. } => Some(errno),
            ref other => other.errno(),
        };
        assert_eq!(errno, Some(Errno::EINVAL), "{}: {error}", shipped.name());
    }
    wanted
}

fn release() -> (u32, u32) {
    kernel::release().expect("uname")
}

/// Packets and bytes, of one CPU more.
fn add(sum: [u64; 2], value: Vec<u8>) -> [u64; 2] {
    let word = |at: i16| {
        let at = at as usize;
        u64::from_ne_bytes(value[at..at + 8].try_into().expect("eight bytes"))
    };
    [sum[0] + word(count::value::PACKETS), sum[1] + word(count::value::BYTES)]
}

/// In a namespace with a port to redirect to: its index.
fn in_host(test: &str, body: impl Fn(u32) + Send + Sync) {
    lab(test, |lab| {
        lab.pair();
        let link = lab.json(HOST, &["ip", "-j", "link", "show", "dev", PORT]);
        let port = u32::try_from(link[0]["ifindex"].as_u64().expect("an index")).expect("u32");
        lab.in_netns(HOST, || body(port));
    });
}

#[test]
fn the_whole_catalogue() {
    in_host("the_whole_catalogue", |port| {
        let both = [(A, INGRESS), (B, port)];
        let situations = [
            Joined { name: "joined", endpoints: &both, ports: &[INGRESS, port] },
            Joined { name: "stale", endpoints: &both, ports: &[INGRESS] },
            Joined { name: "spoofed", endpoints: &[(A, port), (B, port)], ports: &[port] },
            Joined { name: "receiver alone", endpoints: &[(B, port)], ports: &[port] },
            Joined {
                name: "another Ethernet address",
                endpoints: &[(Host { mac: host(9).mac, ..A }, INGRESS), (B, port)],
                ports: &[port],
            },
            Joined { name: "nobody", endpoints: &[], ports: &[] },
        ];
        let (cases, programs) = (catalogue(), loadable());
        for situation in situations {
            for &shipped in &programs {
                // Who has no map does the same in each.
                let mapless = shipped.program().expect("assembles").maps().is_empty();
                if mapless && situation.name != situations[0].name {
                    continue;
                }
                let mut both = Both::new(shipped, situation);
                let verdicts: Vec<u32> = cases.iter().filter_map(|case| both.run(case)).collect();
                match shipped {
                    Shipped::Measure(_) => continue, // Its verdict is a checksum.
                    Shipped::Count => {
                        let all = verdicts.len() as u64;
                        assert!(verdicts.iter().all(|verdict| *verdict == xdp::DROP as u32));
                        assert_eq!(both.counters(), Some([all, 0, 0, 0]));
                        continue;
                    }
                    Shipped::Bounce => {
                        assert!(verdicts.iter().all(|verdict| *verdict == xdp::TX as u32));
                        continue;
                    }
                    _ => {}
                }
                let count = |verdict: i32| {
                    verdicts.iter().filter(|got| **got == verdict as u32).count() as u64
                };
                let (pass, redirect) = match both.program.hook() {
                    Hook::Tc => (tc::UNSPEC, tc::REDIRECT),
                    Hook::Xdp | Hook::XdpFrags => (xdp::PASS, xdp::REDIRECT),
                };
                let dropped = match shipped {
                    // What bears a mark, and has strayed.
                    Shipped::Next | Shipped::NextBack => count(xdp::DROP),
                    _ => 0,
                };
                let (passed, redirected) = (count(pass) + dropped, count(redirect));
                assert_eq!(passed + redirected, verdicts.len() as u64);
                assert!(verdicts.len() > cases.len() / 2, "most are run");
                let Some([forwarded, left, stale, spoofed]) = both.counters() else { continue };
                assert_eq!([forwarded, left + stale + spoofed], [redirected, passed]);
                // Each situation is what its name says.
                let seen = [
                    (forwarded, Verdict::Forwarded),
                    (stale, Verdict::Stale),
                    (spoofed, Verdict::Spoofed),
                ];
                let seen: Vec<Verdict> = seen
                    .into_iter()
                    .filter(|(n, verdict)| {
                        *n > 100 && (dropped == 0 || *verdict != Verdict::Spoofed)
                    })
                    .map(|(_, verdict)| verdict)
                    .collect();
                let of_chain =
                    [Shipped::ChainIn, Shipped::Next, Shipped::NextBack, Shipped::BackIn];
                let expected = match situation.name {
                    "nobody" => vec![],
                    "receiver alone" if shipped == Shipped::BackIn => vec![],
                    // It asks neither who sends, nor which Ethernet address it is for.
                    name if of_chain.contains(&shipped) && name != "stale" => {
                        vec![Verdict::Forwarded]
                    }
                    "joined" => vec![Verdict::Forwarded],
                    "stale" => vec![Verdict::Stale],
                    "spoofed" => vec![Verdict::Spoofed],
                    _ => vec![],
                };
                assert_eq!(seen, expected, "{}: {}", shipped.name(), situation.name);
            }
        }
    });
}

/// What `bpf_csum_diff` gives, bit for bit: zero has two forms.
#[test]
fn sums_of_any_sizes() {
    lab("sums_of_any_sizes", |_| {
        if release() < (6, 13) {
            return; // They take other sizes, and fold less.
        }
        let mut dice = Dice::new(0);
        let packets = [
            vec![0; 200],
            vec![0xff; 200],
            dice.bytes(200),
            [[0xff; 4], [0; 4]].concat().repeat(25),
        ];
        let sizes = [0, 1, 2, 3, 4, 7, 8, 61, 64, 100];
        for (from, to) in sizes.into_iter().flat_map(|from| sizes.map(|to| (from, to))) {
            for seed in [0, 1, 0xffff, 0x1_ffff, 0x1234_5678, -1, -2] {
                let program = csum_diff(from, to, seed);
                let prog = load_xdp("sum", &program.bytes(ByteOrder::NATIVE), &[]).expect("loads");
                // The lint wants whole words.
                let vm = Vm::unlinted(&program).expect("runs in the VM");
                for packet in &packets {
                    let run = TestRun { data_in: packet, ctx_in: None, repeat: 1 };
                    let kernel = prog.test_run(&run).expect("runs").retval;
                    let vm = vm.run(packet, INGRESS).expect("runs").verdict;
                    assert_eq!(u64::from(kernel), vm, "{from}, {to}, {seed:#x}: {packet:02x?}");
                }
            }
        }
    });
}

/// `bpf_csum_diff` from the packet's first `from` bytes to the `to` bytes behind its first hundred.
fn csum_diff(from: i32, to: i32, seed: i32) -> Program {
    let mut asm = Assembler::new("sum");
    let end = asm.label("end");
    asm.load(R6, R1.u32(xdp_md::DATA), "packet");
    asm.load(R7, R1.u32(xdp_md::DATA_END), "its end");
    asm.mov(R0, 0, "none");
    asm.mov(R1, R6, "from");
    asm.mov(R3, R6, "to");
    asm.add(R3, 100, "behind it");
    asm.mov(R2, R3, "its end:");
    asm.add(R2, 100, "as much again");
    asm.jump_if(R2.gt(R7), &end, "short");
    asm.mov(R2, from, "size");
    asm.mov(R4, to, "size");
    asm.mov32(R5, seed, "seed");
    asm.call(Helper::CSUM_DIFF, "sum");
    asm.bind(end);
    asm.exit("the sum");
    asm.finish().expect("assembles")
}

/// Packets that all programs are run on.
const PACKETS: usize = 100_000;

#[test]
fn random_and_mutated_packets() {
    in_host("random_and_mutated_packets", |port| {
        let joined = Joined {
            name: "joined",
            endpoints: &[(A, INGRESS), (B, port)],
            ports: &[INGRESS, port],
        };
        let mut all: Vec<Both> =
            loadable().into_iter().map(|shipped| Both::new(shipped, joined)).collect();
        let cases = catalogue();
        let mut dice = Dice::new(0);
        for number in 0..PACKETS {
            let frame = mutated(&cases, &mut dice);
            let case = Case { name: format!("packet {number}: {frame:02x?}"), frame };
            for both in &mut all {
                both.run(&case);
            }
        }
        // Enough of them were still good for something.
        for both in &all {
            if both.program.name() == Shipped::Count.name() {
                assert_eq!(both.counters(), Some([PACKETS as u64, 0, 0, 0]));
            } else if let Some([forwarded, passed, _, spoofed]) = both.counters() {
                // Within a chain all bear a mark, and none that does is passed.
                let within = [Shipped::Next.name(), Shipped::NextBack.name()];
                let left = if within.contains(&both.program.name()) { spoofed } else { passed };
                let some = PACKETS as u64 / 10;
                assert!(forwarded > some && left > some, "{forwarded} forwarded, {left} left");
            }
        }
    });
}

/// A packet of the catalogue with a few things changed; now and then only noise.
fn mutated(cases: &[Case], dice: &mut Dice) -> Vec<u8> {
    if dice.one_in(20) {
        let len = 14 + dice.below(200);
        return dice.bytes(len);
    }
    let mut frame = cases[dice.below(cases.len())].frame.clone();
    for _ in 0..dice.below(4) {
        // Mostly in the headers.
        let within = if dice.one_in(4) { frame.len() } else { frame.len().min(60) };
        let at = dice.below(within);
        match dice.below(6) {
            0 => frame[at] ^= 1 << dice.below(8),
            1 => frame[at] = dice.next() as u8,
            2 => frame.truncate(at.max(14)),
            3 => {
                let more = dice.below(40);
                frame.extend(dice.bytes(more));
            }
            4 => frame[at] = frame[at].wrapping_add(1),
            _ => {
                let other = dice.below(within);
                frame.swap(at, other);
            }
        }
    }
    frame
}

#[test]
fn the_kernels_tag_is_the_hash_of_the_listed_bytes() {
    lab("the_kernels_tag_is_the_hash_of_the_listed_bytes", |lab| {
        lab.pair();
        for attach in ["link", "netlink"] {
            for (way, checksum) in [("complete", Checksum::Complete), ("none", Checksum::Keep)] {
                lab.xhop(&["up", "a", "b", "--attach", attach, "--checksum", way]).ok();
                let program = forward(checksum).expect("assembles");
                let expected = lab.kernel_hash(&program.bytes(ByteOrder::NATIVE));
                for name in ["a", "b"] {
                    let member = lab.member(&format!("netns:{name}"));
                    assert_eq!(member["program"]["tag"], expected, "{attach}, {way}");
                    // What runs there, in the kernel's own words.
                    let veth = format!("veth-{name}");
                    let link = lab.json(HOST, &["ip", "-d", "-j", "link", "show", "dev", &veth]);
                    assert_eq!(link[0]["xdp"]["prog"]["tag"], expected, "{attach}, {way}");
                }
            }
        }
        for shipped in Shipped::ALL {
            let program = shipped.program().expect("assembles");
            let maps: Vec<Map> =
                program.maps().iter().map(|decl| Map::create(decl).expect("a map")).collect();
            let refs: Vec<&Map> = maps.iter().collect();
            let prog = Prog::load(shipped, &refs).expect("loads");
            assert_eq!(prog.map_refs(), Some(MapRefs::Index), "{}", program.name());
            assert_eq!(kernels_tag(&prog), own_tag(&program, MapRefs::Index));
            // As a kernel before 5.14 gets it.
            let (kind, insns) = (program.hook().prog_type(), patched(&program, &maps));
            let raw = Raw { kind, name: "patched", insns: &insns, ..Raw::default() };
            let prog = load(&raw).expect("loads");
            assert_eq!(kernels_tag(&prog), own_tag(&program, MapRefs::Patched));
        }
    });
}

/// What `bpftool` says.
fn kernels_tag(prog: &Prog) -> String {
    let id = prog.info().expect("info").id.to_string();
    let shown = Command::new("bpftool").args(["-j", "prog", "show", "id", &id]).output();
    let shown: Value = serde_json::from_slice(&shown.expect("bpftool").stdout).expect("JSON");
    shown["tag"].as_str().expect("a tag").to_owned()
}

fn own_tag(program: &Program, refs: MapRefs) -> String {
    let new = release() >= (6, 18);
    let kind = if new { TagKind::Sha256 } else { TagKind::Sha1 };
    hex::encode(tag::tag(program, kind, refs, ByteOrder::NATIVE))
}

/// The bytes with each map by its descriptor.
fn patched(program: &Program, maps: &[Map]) -> Vec<u8> {
    let (mut bytes, mut at) = (program.bytes(ByteOrder::NATIVE), 0);
    for line in program.lines() {
        if let Insn::LoadMap { map, .. } = line.insn {
            let fd = maps[map.get() as usize].as_fd().as_raw_fd();
            bytes[at + 1] ^= match ByteOrder::NATIVE {
                ByteOrder::Little => (BPF_PSEUDO_MAP_IDX ^ BPF_PSEUDO_MAP_FD) << 4,
                ByteOrder::Big => BPF_PSEUDO_MAP_IDX ^ BPF_PSEUDO_MAP_FD,
            };
            bytes[at + 4..at + 8].copy_from_slice(&fd.to_ne_bytes());
        }
        at += line.insn.slots() * SLOT;
    }
    bytes
}
