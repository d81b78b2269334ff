//! The lint: each rule has a program that breaks it, and what is said of those that break none is true.

use xhop_asm::blocks::endpoint;
use xhop_asm::lint::{Finding, Loop, Report, Rule, lint, lint_program};
use xhop_asm::programs::{Hook, Shipped};
use xhop_asm::xdp::{self, xdp_md};
use xhop_asm::{
    AluOp, Assembler, ByteOrder, FP, Helper, Insn, MapDecl, MapKind, Operand, Pointer, R0, R1, R2,
    R3, R4, R5, R6, R7, R8, Width,
};

/// The comment of the instruction that breaks the rule.
const HERE: &str = "here";

fn assemble(build: impl FnOnce(&mut Assembler)) -> xhop_asm::Program {
    let mut asm = Assembler::new("test");
    build(&mut asm);
    asm.finish().expect("assembles")
}

fn report(build: impl FnOnce(&mut Assembler)) -> Report {
    lint_program(&assemble(build))
}

/// The program breaks this rule, and no other, at the instruction that is marked [`HERE`].
#[track_caller]
fn breaks(rule: Rule, build: impl FnOnce(&mut Assembler)) {
    let program = assemble(build);
    let mut slot = 0;
    let marked = program.lines().iter().find_map(|line| {
        slot += line.insn.slots();
        (line.comment == HERE).then(|| slot - line.insn.slots())
    });
    let found = lint_program(&program).findings;
    let said: Vec<(usize, Rule)> = found.iter().map(|f| (f.slot, f.rule)).collect();
    assert_eq!(said, [(marked.expect("a marked instruction"), rule)], "{found:?}");
}

/// The same without the mistake is let through.
#[track_caller]
fn passes(build: impl FnOnce(&mut Assembler)) -> Report {
    let report = report(build);
    assert_eq!(report.findings, [], "{:?}", report.findings);
    report
}

fn leave(asm: &mut Assembler) {
    asm.mov(R0, xdp::PASS, "verdict");
    asm.exit("done");
}

/// `r6` = packet, `r7` = its end; goes on with `len` bytes known to be there.
fn packet(asm: &mut Assembler, len: i32) {
    let enough = asm.label("enough");
    asm.load(R6, R1.u32(xdp_md::DATA), "packet");
    asm.load(R7, R1.u32(xdp_md::DATA_END), "end");
    asm.mov(R2, R6, "packet");
    asm.add(R2, len, "so many bytes");
    asm.jump_if(R2.le(R7), &enough, "are there");
    leave(asm);
    asm.bind(enough);
}

fn values() -> MapDecl {
    MapDecl {
        name: "values",
        kind: MapKind::Hash,
        key_size: 4,
        value_size: 16,
        max_entries: 1,
        flags: 0,
    }
}

/// `r0` = a value of `values`, or NULL.
fn look_up(asm: &mut Assembler) {
    let map = asm.map(values());
    asm.store(FP.u32(-4), 7, "key");
    asm.load_map(R1, map, "map");
    asm.mov(R2, FP, "key:");
    asm.add(R2, -4, "on the stack");
    asm.call(Helper::MAP_LOOKUP_ELEM, "look it up");
}

#[test]
fn all_that_is_shipped_is_well() {
    for shipped in Shipped::ALL {
        assert_eq!(shipped.hook(), Hook::Xdp);
        let report = lint_program(&shipped.program().expect("assembles"));
        assert_eq!(report.findings, [], "{}: {:?}", shipped.name(), report.findings);
    }
}

#[test]
fn registers_that_hold_nothing() {
    breaks(Rule::Uninitialised, |asm| {
        asm.mov(R0, R3, HERE);
        asm.exit("done");
    });
    breaks(Rule::Uninitialised, |asm| asm.exit(HERE));
    // One of two paths is enough.
    breaks(Rule::Uninitialised, |asm| {
        let skip = asm.label("skip");
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "unknown");
        asm.jump_if(R2.eq(1), &skip, "sometimes");
        asm.mov(R3, 2, "set");
        asm.bind(skip);
        asm.mov(R0, R3, HERE);
        asm.exit("done");
    });
}

#[test]
fn registers_after_a_call() {
    for (register, lost) in [(R1, true), (R2, true), (R5, true), (R6, false), (R0, false)] {
        let build = |asm: &mut Assembler| {
            for reg in [R1, R2, R3, R4, R5, R6] {
                asm.mov(reg, 0, "null, or nothing");
            }
            asm.call(Helper::CSUM_DIFF, "of nothing");
            asm.mov(R0, register, HERE);
            asm.exit("done");
        };
        if lost { breaks(Rule::Uninitialised, build) } else { drop(passes(build)) }
    }
}

#[test]
fn the_context() {
    breaks(Rule::Context, |asm| {
        asm.mov(R2, 0, "nothing");
        asm.store(R1.u32(xdp_md::INGRESS_IFINDEX), R2, HERE);
        leave(asm);
    });
    breaks(Rule::Context, |asm| {
        asm.load(R2, R1.u64(xdp_md::DATA), HERE);
        leave(asm);
    });
    for off in [-4, 2, xdp_md::DATA_META, xdp_md::EGRESS_IFINDEX, 24] {
        breaks(Rule::Context, |asm| {
            asm.load(R2, R1.u32(off), HERE);
            leave(asm);
        });
    }
    let facts = passes(|asm| {
        asm.load(R2, R1.u32(xdp_md::RX_QUEUE_INDEX), "queue");
        leave(asm);
    });
    assert_eq!(facts.facts.context, ["rx_queue_index"]);
}

#[test]
fn packet_bytes_that_were_not_checked() {
    for (off, size_ok) in [(0, true), (13, true), (14, false), (-1, false)] {
        let build = |asm: &mut Assembler| {
            packet(asm, 14);
            asm.load(R2, R6.u8(off), HERE);
            leave(asm);
        };
        if size_ok { drop(passes(build)) } else { breaks(Rule::PacketBounds, build) }
    }
    // It begins inside, and ends outside.
    breaks(Rule::PacketBounds, |asm| {
        packet(asm, 14);
        asm.store(R6.u32(11), 0, HERE);
        leave(asm);
    });
    // The check was of the other way round.
    breaks(Rule::PacketBounds, |asm| {
        let short = asm.label("short");
        asm.load(R6, R1.u32(xdp_md::DATA), "packet");
        asm.load(R7, R1.u32(xdp_md::DATA_END), "end");
        asm.mov(R2, R6, "packet");
        asm.add(R2, 1, "one byte");
        asm.jump_if(R2.le(R7), &short, "is there");
        asm.load(R2, R6.u8(0), HERE);
        asm.bind(short);
        leave(asm);
    });
    // A check of one address says nothing of another with an unknown part.
    breaks(Rule::PacketBounds, |asm| {
        packet(asm, 64);
        asm.load(R3, R6.u8(0), "a byte");
        asm.add(R3, R6, "so far into the packet");
        asm.load(R2, R3.u8(0), HERE);
        leave(asm);
    });
    // The packet was cut.
    breaks(Rule::Uninitialised, |asm| {
        asm.mov(R8, R1, "context");
        packet(asm, 14);
        asm.mov(R1, R8, "context");
        asm.mov(R2, -1, "a byte off the end");
        asm.call(Helper::XDP_ADJUST_TAIL, "cut");
        asm.load(R2, R6.u8(0), HERE);
        leave(asm);
    });
}

#[test]
fn variable_offsets() {
    let facts = passes(|asm| {
        let out = asm.label("out");
        packet(asm, 34);
        asm.load(R3, R6.u8(14), "a byte");
        asm.and(R3, 0x0f, "its low half");
        asm.lsh(R3, 2, "times four");
        asm.add(R3, R6, "into the packet");
        asm.mov(R4, R3, "and");
        asm.add(R4, 18, "eighteen bytes on");
        asm.jump_if(R4.gt(R7), &out, "are there?");
        asm.store(R3.u16(16), 0, "write");
        asm.bind(out);
        leave(asm);
    })
    .facts;
    assert_eq!(texts(&facts.writes), ["frame[16..78]"]);
    assert_eq!(texts(&facts.reads), ["frame[14..15]"]);
}

fn texts(items: &[impl ToString]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

#[test]
fn values_of_maps() {
    breaks(Rule::NullCheck, |asm| {
        look_up(asm);
        asm.load(R2, R0.u32(0), HERE);
        leave(asm);
    });
    for (off, fits) in [(0, true), (8, true), (12, false), (16, false), (-8, false)] {
        let build = |asm: &mut Assembler| {
            let none = asm.label("none");
            look_up(asm);
            asm.jump_if(R0.eq(0), &none, "none");
            asm.store(R0.u64(off), 0, HERE);
            asm.bind(none);
            leave(asm);
        };
        if fits { drop(passes(build)) } else { breaks(Rule::ValueBounds, build) }
    }
    breaks(Rule::ValueBounds, |asm| {
        let none = asm.label("none");
        look_up(asm);
        asm.jump_if(R0.eq(0), &none, "none");
        asm.load(R2, R0.u32(2), HERE);
        asm.bind(none);
        leave(asm);
    });
}

#[test]
fn memory_that_is_none() {
    breaks(Rule::NoPointer, |asm| {
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        asm.load(R3, R2.u8(0), HERE);
        leave(asm);
    });
    breaks(Rule::NoPointer, |asm| {
        asm.load(R2, R1.u32(xdp_md::DATA_END), "the end");
        asm.load(R3, R2.u8(-1), HERE);
        leave(asm);
    });
    breaks(Rule::NoPointer, |asm| {
        let map = asm.map(values());
        asm.load_map(R2, map, "map");
        asm.load(R3, R2.u32(0), HERE);
        leave(asm);
    });
}

#[test]
fn the_stack() {
    breaks(Rule::Stack, |asm| {
        asm.load(R2, FP.u64(-8), HERE);
        leave(asm);
    });
    breaks(Rule::Stack, |asm| {
        asm.store(FP.u32(-8), 0, "half of it");
        asm.load(R2, FP.u64(-8), HERE);
        leave(asm);
    });
    for off in [0, -4, -520, -12] {
        breaks(Rule::Stack, |asm| {
            asm.store(FP.u64(off), 0, HERE);
            leave(asm);
        });
    }
    breaks(Rule::Stack, |asm| {
        asm.store(FP.u64(-8), R1, "an address");
        asm.load(R2, FP.u32(-8), HERE);
        leave(asm);
    });
    breaks(Rule::Stack, |asm| {
        asm.store(FP.u64(-8), R1, "an address");
        asm.store(FP.u8(-8), 0, HERE);
        leave(asm);
    });
    // A key that is not all there.
    breaks(Rule::Stack, |asm| {
        let map = asm.map(values());
        asm.store(FP.u16(-4), 7, "half a key");
        asm.load_map(R1, map, "map");
        asm.mov(R2, FP, "key:");
        asm.add(R2, -4, "on the stack");
        asm.call(Helper::MAP_LOOKUP_ELEM, HERE);
        leave(asm);
    });
    let facts = passes(|asm| {
        asm.store(FP.u64(-512), R1, "kept");
        asm.load(R2, FP.u64(-512), "and back");
        asm.load(R2, R2.u32(xdp_md::INGRESS_IFINDEX), "still the context");
        leave(asm);
    })
    .facts;
    assert_eq!(facts.stack, 512);
}

#[test]
fn addresses_are_kept_from_others() {
    breaks(Rule::PointerLeak, |asm| {
        asm.mov(R0, R1, "an address");
        asm.exit(HERE);
    });
    breaks(Rule::PointerLeak, |asm| {
        packet(asm, 14);
        asm.store(R6.u64(0), R6, HERE);
        leave(asm);
    });
    breaks(Rule::PointerLeak, |asm| {
        let none = asm.label("none");
        look_up(asm);
        asm.jump_if(R0.eq(0), &none, "none");
        asm.store(R0.u64(0), FP, HERE);
        asm.bind(none);
        leave(asm);
    });
    breaks(Rule::PointerLeak, |asm| {
        let out = asm.label("out");
        asm.jump_if(R1.eq(0), &out, HERE);
        asm.bind(out);
        leave(asm);
    });
}

#[test]
fn arithmetic_on_addresses() {
    breaks(Rule::PointerArithmetic, |asm| {
        asm.mul(R1, 2, HERE);
        leave(asm);
    });
    breaks(Rule::PointerArithmetic, |asm| {
        asm.mov32(R2, R1, HERE);
        leave(asm);
    });
    breaks(Rule::PointerArithmetic, |asm| {
        asm.add(R1, 4, HERE);
        leave(asm);
    });
    breaks(Rule::PointerArithmetic, |asm| {
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "up to 2^32");
        asm.load(R6, R1.u32(xdp_md::DATA), "packet");
        asm.add(R6, R2, HERE);
        leave(asm);
    });
    breaks(Rule::NullCheck, |asm| {
        look_up(asm);
        asm.add(R0, 4, HERE);
        leave(asm);
    });
}

#[test]
fn constants() {
    breaks(Rule::Constant, |asm| {
        asm.mov(R2, 1, "one");
        asm.div(R2, 0, HERE);
        leave(asm);
    });
    breaks(Rule::Constant, |asm| {
        asm.mov(R2, 1, "one");
        asm.modulo32(R2, 0, HERE);
        leave(asm);
    });
    breaks(Rule::Constant, |asm| {
        asm.mov(R2, 1, "one");
        asm.lsh(R2, 64, HERE);
        leave(asm);
    });
    breaks(Rule::Constant, |asm| {
        asm.mov(R2, 1, "one");
        asm.rsh32(R2, 32, HERE);
        leave(asm);
    });
}

#[test]
fn maps_and_helpers() {
    let stray = assemble(|asm| {
        let map = asm.map(values());
        asm.load_map(R1, map, "map");
        leave(asm);
    });
    let found = lint(&stray.bytes(ByteOrder::Little), &[]).findings;
    assert_eq!(rules(&found), [(0, Rule::Map)], "{found:?}");

    // A devmap gives no values, a hash no interfaces.
    breaks(Rule::Map, |asm| {
        let map = asm.map(endpoint::ports());
        asm.store(FP.u32(-4), 7, "key");
        asm.load_map(R1, map, "map");
        asm.mov(R2, FP, "key:");
        asm.add(R2, -4, "on the stack");
        asm.call(Helper::MAP_LOOKUP_ELEM, HERE);
        leave(asm);
    });
    breaks(Rule::Map, |asm| {
        let map = asm.map(values());
        asm.load_map(R1, map, "map");
        asm.mov(R2, 1, "key");
        asm.mov(R3, 0, "flags");
        asm.call(Helper::REDIRECT_MAP, HERE);
        leave(asm);
    });
    breaks(Rule::Call, |asm| {
        let map = asm.map(endpoint::ports());
        asm.load_map(R1, map, "map");
        asm.mov(R2, 1, "key");
        asm.mov(R3, 8, "BPF_F_BROADCAST");
        asm.call(Helper::REDIRECT_MAP, HERE);
        leave(asm);
    });
    breaks(Rule::Call, |asm| {
        asm.mov(R2, FP, "no key");
        asm.call(Helper::MAP_LOOKUP_ELEM, HERE);
        leave(asm);
    });
    breaks(Rule::Call, |asm| {
        asm.call(Helper::new(6), HERE);
        leave(asm);
    });
    // A length that is not known.
    breaks(Rule::Call, |asm| {
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "some length");
        asm.mov(R1, 0, "null");
        asm.mov(R3, 0, "null");
        asm.mov(R4, 0, "nothing");
        asm.mov(R5, 0, "seed");
        asm.call(Helper::CSUM_DIFF, HERE);
        leave(asm);
    });
}

#[test]
fn code_that_is_never_reached() {
    breaks(Rule::Unreachable, |asm| {
        leave(asm);
        asm.exit(HERE);
    });
    // Not even if a jump leads there that is never taken.
    breaks(Rule::Unreachable, |asm| {
        let never = asm.label("never");
        asm.mov(R0, xdp::PASS, "verdict");
        asm.jump_if(R0.eq(xdp::DROP), &never, "no");
        asm.exit("done");
        asm.bind(never);
        asm.exit(HERE);
    });
}

#[test]
fn paths_without_exit() {
    breaks(Rule::NoExit, |asm| asm.mov(R0, xdp::PASS, HERE));
    assert_eq!(rules(&lint(&[], &[]).findings), [(0, Rule::NoExit)]);
}

fn rules(findings: &[Finding]) -> Vec<(usize, Rule)> {
    findings.iter().map(|finding| (finding.slot, finding.rule)).collect()
}

fn bytes(insns: &[Insn]) -> Vec<u8> {
    let mut bytes = Vec::new();
    insns.iter().for_each(|insn| insn.encode(ByteOrder::Little, &mut bytes));
    bytes
}

#[test]
fn jumps_to_nowhere() {
    let wide = Insn::LoadImm64 { dst: R0, imm: 0 };
    for (off, rule) in [(-2, true), (4, true), (1, true), (0, false), (2, false)] {
        let code = bytes(&[Insn::Jump { off }, wide, Insn::Exit]);
        let found = lint(&code, &[]).findings;
        assert_eq!(found.contains(&at(&found, Rule::JumpTarget)), rule, "{off}: {found:?}");
    }
}

fn at(findings: &[Finding], rule: Rule) -> Finding {
    let found = findings.iter().find(|finding| finding.rule == rule).cloned();
    found.unwrap_or(Finding { slot: usize::MAX, rule, what: String::new() })
}

#[test]
fn outside_the_subset() {
    let outside = [
        vec![0xff; 8],                                              // no instruction
        vec![0xdb, 0x0a, 0xf8, 0xff, 0, 0, 0, 0],                   // lock *(u64 *)(r10 - 8) += r0
        vec![0xbf, 0x10, 0x08, 0, 0, 0, 0, 0],                      // r0 = (s8)r1
        vec![0xd7, 0x00, 0, 0, 0x10, 0, 0, 0],                      // r0 = bswap16 r0
        vec![0x85, 0x10, 0, 0, 0, 0, 0, 0],                         // call pc+0
        vec![0x18, 0x10, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // a map's descriptor
        vec![0x95, 0, 0, 0],                                        // half an exit
    ];
    for code in outside {
        let found = lint(&[code.clone(), bytes(&[Insn::Exit])].concat(), &[]).findings;
        assert_eq!(found.first().map(|f| (f.slot, f.rule)), Some((0, Rule::Subset)), "{code:02x?}");
    }
    breaks(Rule::Subset, |asm| {
        asm.mov(R2, 1, "one");
        asm.add32(R2, 1, HERE);
        leave(asm);
    });
    breaks(Rule::Subset, |asm| {
        let out = asm.label("out");
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        asm.jump_if(R2.eq(-1), &out, HERE);
        asm.bind(out);
        leave(asm);
    });
}

#[test]
fn loops_that_may_never_end() {
    breaks(Rule::Endless, |asm| {
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        let again = asm.label("again");
        let again = asm.bind(again);
        asm.jump_if(R2.ne(7), &again, HERE);
        leave(asm);
    });
    // Something changes, but not to the end that is waited for.
    breaks(Rule::Endless, |asm| {
        let again = asm.label("again");
        asm.load(R6, R1.u32(xdp_md::RX_QUEUE_INDEX), "a number");
        asm.mov(R7, R1, "context");
        let again = asm.bind(again);
        asm.load(R2, R7.u32(xdp_md::INGRESS_IFINDEX), HERE);
        asm.rsh(R6, 1, "less");
        asm.jump_if(R2.ne(R6), &again, "until they meet");
        leave(asm);
    });
    // It ends, after longer than anybody wants to wait.
    let found = report(|asm| {
        asm.mov(R2, 0, "count");
        let again = asm.label("again");
        let again = asm.bind(again);
        asm.add(R2, 1, "one more");
        asm.jump_if(R2.lt(1 << 24), &again, "again");
        leave(asm);
    });
    assert_eq!(rules(&found.findings), [(0, Rule::TooComplex)]);
}

#[test]
fn loops_and_the_longest_path() {
    let facts = passes(|asm| {
        asm.mov(R2, 0, "count");
        let again = asm.label("again");
        let again = asm.bind(again);
        asm.add(R2, 1, "one more");
        asm.jump_if(R2.lt(10), &again, "again");
        leave(asm);
    })
    .facts;
    assert_eq!(facts.loops, [Loop { from: 2, to: 1, rounds: 9 }]);
    assert_eq!(facts.longest, 1 + 10 * 2 + 2);

    // The inner loop's rounds of all outer rounds.
    let facts = passes(|asm| {
        asm.mov(R2, 0, "outer count");
        let outer = asm.label("outer");
        let outer = asm.bind(outer);
        asm.mov(R3, 0, "inner count");
        let inner = asm.label("inner");
        let inner = asm.bind(inner);
        asm.add(R3, 1, "one more");
        asm.jump_if(R3.lt(4), &inner, "again");
        asm.add(R2, 1, "one more");
        asm.jump_if(R2.lt(5), &outer, "again");
        leave(asm);
    })
    .facts;
    let inner = Loop { from: 3, to: 2, rounds: 5 * 3 };
    assert_eq!(facts.loops, [inner, Loop { from: 5, to: 1, rounds: 4 }]);
    assert_eq!(facts.longest, 1 + 5 * (1 + 4 * 2 + 2) + 2);

    // The longer of two ways.
    let facts = passes(|asm| {
        let (short, out) = (asm.label("short"), asm.label("out"));
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        asm.jump_if(R2.eq(1), &short, "either way");
        asm.mov(R3, 1, "long");
        asm.mov(R3, 2, "long");
        asm.jump(&out, "meet");
        asm.bind(short);
        asm.mov(R3, 3, "short");
        asm.bind(out);
        leave(asm);
    })
    .facts;
    assert_eq!(facts.longest, 2 + 3 + 2);
}

#[test]
fn what_forward_does() {
    let named = |name| Shipped::named(name).expect("shipped").program().expect("assembles");
    let facts = lint_program(&named("forward")).facts;
    assert_eq!(facts.writes, []);
    assert_eq!(facts.verdicts.to_string(), "XDP_PASS, XDP_REDIRECT");
    assert_eq!(facts.context, ["ingress_ifindex", "data", "data_end"]);
    let facts = lint_program(&named("forward+complete")).facts;
    let checks =
        ["udp.check[40..42]", "tcp.check[50..52]", "udp.check[60..62]", "tcp.check[70..72]"];
    assert_eq!(texts(&facts.writes), checks);
    // 4095 bytes after 40 of IPv6 and 14 of Ethernet.
    assert!(texts(&facts.reads).contains(&"l4[34..4149]".to_owned()), "{:?}", facts.reads);
    assert_eq!(facts.loops.len(), 1);
    assert_eq!(facts.loops[0].rounds, 4095 / 256 - 1);
}

#[test]
fn verdicts() {
    let facts = passes(|asm| {
        let (tx, drop) = (asm.label("tx"), asm.label("drop"));
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        asm.jump_if(R2.eq(1), &tx, "one");
        asm.jump_if(R2.eq(2), &drop, "another");
        asm.mov(R0, -1, "none that there is");
        asm.exit("done");
        asm.bind(tx);
        asm.mov(R0, xdp::TX, "verdict");
        asm.exit("done");
        asm.bind(drop);
        asm.mov(R0, xdp::DROP, "verdict");
        asm.exit("done");
    })
    .facts;
    assert_eq!(facts.verdicts.to_string(), "XDP_DROP, XDP_TX, 4294967295");
}

/// A field that a path has compared is a field no more once the path has written there.
#[test]
fn headers_that_are_rewritten() {
    let facts = passes(|asm| {
        let out = asm.label("out");
        packet(asm, 64);
        asm.load(R2, R6.u16(12), "EtherType");
        asm.be16(R2, "in host order");
        asm.jump_if(R2.ne(0x0800), &out, "not IPv4");
        asm.store(R6.u8(22), 1, "named");
        asm.store(R6.u16(12), 0, "no IPv4 any more");
        asm.store(R6.u8(24), 1, "not named");
        asm.bind(out);
        leave(asm);
    })
    .facts;
    assert_eq!(texts(&facts.writes), ["eth.type[12..14]", "ip.ttl[22..23]", "frame[24..25]"]);
}

/// Values that only look alike are not taken for the same: an operation on half a register, and one whose
/// result depends on more than the range.
#[test]
fn widths() {
    breaks(Rule::PointerArithmetic, |asm| {
        asm.load(R6, R1.u32(xdp_md::DATA), "packet");
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        asm.lsh(R2, 32, "in the upper half");
        asm.emit(
            Insn::Alu { width: Width::W64, op: AluOp::Or, dst: R2, src: Operand::Imm(1) },
            "and one",
        );
        asm.add(R6, R2, HERE);
        leave(asm);
    });
}
