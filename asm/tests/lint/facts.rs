//! What is said of programs that are well is true.

use super::*;

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
    assert_eq!(facts.verdicts.named(Hook::Xdp), "XDP_PASS, XDP_REDIRECT");
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
    assert_eq!(facts.verdicts.named(Hook::Xdp), "XDP_DROP, XDP_TX, 4294967295");
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

/// EtherType, in host order in `r2`; goes on if it is this.
fn is_ethertype(asm: &mut Assembler, value: i32, out: &xhop_asm::Label) {
    asm.load(R2, R6.u16(12), "EtherType");
    asm.be16(R2, "in host order");
    asm.jump_if(R2.ne(value), out, "another");
}

/// What was read before a write says nothing of what is there after it.
#[test]
fn fields_that_were_read_before_a_write() {
    for overwrite in [true, false] {
        let facts = passes(|asm| {
            let out = asm.label("out");
            packet(asm, 64);
            asm.load(R8, R6.u16(12), "EtherType");
            if overwrite {
                asm.store(R6.u8(13), 0xdd, "another now");
            }
            asm.be16(R8, "in host order");
            asm.jump_if(R8.ne(0x0800), &out, "it was not IPv4");
            asm.load(R2, R6.u16(12), "what it is now");
            asm.be16(R2, "in host order");
            asm.jump_if(R2.eq(0x0800), &out, "IPv4");
            asm.store(R6.u8(30), 1, "a write");
            asm.bind(out);
            leave(asm);
        })
        .facts;
        let last = texts(&facts.writes).contains(&"frame[30..31]".to_owned());
        assert_eq!(last, overwrite, "{:?}", facts.writes);
    }
}

/// Where the protocol stands depends on the EtherType: what was learnt by one says nothing by the other.
#[test]
fn protocols_of_another_ethertype() {
    let facts = passes(|asm| {
        let out = asm.label("out");
        packet(asm, 64);
        is_ethertype(asm, 0x0800, &out);
        asm.load(R3, R6.u8(23), "protocol");
        asm.jump_if(R3.ne(6), &out, "not TCP");
        asm.store(R6.u16(12), 0xdd86, "IPv6 from here on");
        is_ethertype(asm, 0x86dd, &out);
        asm.load(R3, R6.u8(20), "next header");
        asm.jump_if(R3.ne(17), &out, "not UDP");
        asm.store(R6.u8(60), 1, "a write");
        asm.bind(out);
        leave(asm);
    })
    .facts;
    let wanted = ["eth.type[12..14]", "udp.check[60..61]"];
    assert_eq!(texts(&facts.writes), wanted);
}

/// A packet that was cut, and grows again, has zeros where something else was.
#[test]
fn headers_of_a_packet_that_was_cut() {
    let facts = passes(|asm| {
        let out = asm.label("out");
        asm.mov(R8, R1, "context");
        packet(asm, 64);
        asm.load(R2, R6.u8(14), "version");
        asm.jump_if(R2.ne(0x45), &out, "not IPv4 without options");
        for delta in [-40, 40] {
            asm.mov(R1, R8, "context");
            asm.mov(R2, delta, "bytes");
            asm.call(Helper::XDP_ADJUST_TAIL, "cut, and grow");
        }
        asm.load(R6, R8.u32(xdp_md::DATA), "packet");
        asm.load(R7, R8.u32(xdp_md::DATA_END), "end");
        asm.mov(R2, R6, "packet");
        asm.add(R2, 64, "as long as before");
        asm.jump_if(R2.gt(R7), &out, "it has not grown");
        asm.load(R2, R6.u8(14), "version");
        asm.jump_if(R2.eq(0x45), &out, "as before");
        asm.store(R6.u8(30), 1, "a write");
        asm.bind(out);
        leave(asm);
    })
    .facts;
    assert_eq!(texts(&facts.writes), ["frame[30..31]"]);
}

/// A field of two bytes is no number of more, whatever its low half looks like.
#[test]
fn fields_compared_with_what_they_can_not_hold() {
    let facts = passes(|asm| {
        let (out, never) = (asm.label("out"), asm.label("never"));
        packet(asm, 64);
        asm.load(R2, R6.u16(12), "EtherType");
        asm.jump_if(R2.ne(0x0008), &out, "not IPv4");
        asm.load(R2, R6.u16(12), "EtherType");
        asm.jump_if(R2.eq(0x1_0008), &never, "more than it holds");
        asm.store(R6.u8(30), 1, "a write");
        asm.bind(never);
        asm.bind(out);
        leave(asm);
    })
    .facts;
    assert_eq!(texts(&facts.writes), ["ip.dst[30..31]"]);
}

/// Ranges do not overlap, and there are not many.
#[test]
fn verdicts_that_are_ranges() {
    let facts = passes(|asm| {
        let out = asm.label("out");
        packet(asm, 14);
        asm.load(R2, R6.u8(0), "a byte");
        asm.mov(R0, R2, "it");
        asm.jump_if(R0.gt(9), &out, "large");
        asm.add(R0, 5, "5..=14");
        asm.bind(out);
        asm.exit("done");
    })
    .facts;
    assert_eq!(facts.verdicts.0, [(2, 2), (5, 255)]);
    // The kernel looks at the low half only.
    let facts = passes(|asm| {
        asm.load(R0, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        asm.add(R0, 1, "1..=2^32");
        asm.exit("done");
    })
    .facts;
    assert_eq!(facts.verdicts.0, [(0, u32::MAX.into())]);
    let facts = passes(|asm| {
        let out = asm.label("out");
        asm.load(R2, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        asm.mov(R0, 0, "count");
        let again = asm.label("again");
        let again = asm.bind(again);
        asm.jump_if(R2.eq(R0), &out, "this many");
        asm.add(R0, 2, "two more");
        asm.jump_if(R0.lt(2000), &again, "again");
        asm.bind(out);
        asm.exit("done");
    })
    .facts;
    assert!(facts.verdicts.0.len() <= 256, "{:?}", facts.verdicts);
    assert_eq!((facts.verdicts.0[0].0, facts.verdicts.0.last().expect("some").1), (0, 2000));
}

/// What only looks like a field says nothing of it.
#[test]
fn numbers_that_are_no_fields() {
    type Load<'a> = &'a dyn Fn(&mut Assembler);
    let changed: Load = &|asm| {
        asm.load(R3, R6.u16(12), "EtherType");
        asm.add(R3, 1, "and one");
    };
    let part: Load = &|asm| {
        asm.load(R3, R6.u16(12), "EtherType");
        asm.and(R3, 0xff00, "half of it");
    };
    let elsewhere: Load = &|asm| {
        let out = asm.label("beyond");
        asm.load(R3, R6.u8(0), "a byte");
        asm.add(R3, R6, "into the packet");
        asm.mov(R2, R3, "there");
        asm.add(R2, 14, "as far as the EtherType would be");
        asm.jump_if(R2.le(R7), &out, "is it there?");
        leave(asm);
        asm.bind(out);
        asm.load(R3, R3.u16(12), "no EtherType");
    };
    let swapped: Load = &|asm| {
        asm.load(R3, R6.u16(12), "EtherType");
        asm.be16(R3, "in host order");
        asm.be16(R3, "and back");
    };
    let wide: Load = &|asm| {
        asm.load(R3, R6.u16(12), "EtherType");
        asm.emit(Insn::Endian { order: ByteOrder::Big, bits: 32, dst: R3 }, "in the upper half");
    };
    for load in [changed, part, elsewhere, swapped, wide] {
        let facts = passes(|asm| {
            let out = asm.label("out");
            packet(asm, 64);
            load(asm);
            asm.load(R4, R6.u16(12), "EtherType");
            asm.jump_if(R4.ne(0x0008), &out, "not IPv4");
            asm.jump_if(R3.eq(0x0008), &out, "the same?");
            asm.jump_if(R3.eq(0x0800), &out, "or swapped?");
            asm.store(R6.u8(40), 0, "written");
            asm.bind(out);
            leave(asm);
        })
        .facts;
        assert_eq!(texts(&facts.writes), ["frame[40..41]"]);
    }
}

/// A write beside a field leaves it what it was; a write of one of its bytes does not.
#[test]
fn writes_beside_fields() {
    for (at, stale) in [(11, false), (12, true), (13, true), (14, false)] {
        let facts = passes(|asm| {
            let out = asm.label("out");
            packet(asm, 64);
            is_ethertype(asm, 0x0800, &out);
            asm.store(R6.u8(at), 0, "a byte");
            asm.store(R6.u8(22), 1, "a write");
            asm.bind(out);
            leave(asm);
        })
        .facts;
        let named = texts(&facts.writes).contains(&"ip.ttl[22..23]".to_owned());
        assert_eq!(named, !stale, "{at}: {:?}", facts.writes);
    }
}

/// What was IPv4 and what was IPv6 is not the same where paths meet.
#[test]
fn names_of_both_paths() {
    let facts = passes(|asm| {
        let (six, meet, out) = (asm.label("six"), asm.label("meet"), asm.label("out"));
        packet(asm, 64);
        asm.load(R2, R6.u16(12), "EtherType");
        asm.jump_if(R2.eq(0xdd86), &six, "IPv6");
        asm.jump_if(R2.ne(0x0008), &out, "not IPv4");
        asm.jump(&meet, "meet");
        asm.bind(six);
        asm.mov(R3, 0, "something");
        asm.bind(meet);
        asm.store(R6.u8(22), 1, "a write");
        asm.bind(out);
        leave(asm);
    })
    .facts;
    assert_eq!(texts(&facts.writes), ["ip.ttl[22..23]", "ip6.src[22..23]"]);
}

/// Where the protocol stands is not known before the EtherType is.
#[test]
fn protocols_of_no_ethertype() {
    let facts = passes(|asm| {
        let out = asm.label("out");
        packet(asm, 64);
        asm.load(R3, R6.u8(23), "some byte");
        asm.jump_if(R3.ne(6), &out, "another");
        is_ethertype(asm, 0x86dd, &out);
        asm.load(R3, R6.u8(20), "next header");
        asm.jump_if(R3.ne(17), &out, "not UDP");
        asm.store(R6.u8(60), 1, "a write");
        asm.bind(out);
        leave(asm);
    })
    .facts;
    assert_eq!(texts(&facts.writes), ["udp.check[60..61]"]);
}

/// More places than are told apart: what lies between them is said too, and none is left out.
#[test]
fn places_here_and_there() {
    let facts = passes(|asm| {
        packet(asm, 2000);
        for at in 0..600 {
            asm.load(R2, R6.u8(14 + 3 * at), "a byte");
        }
        leave(asm);
    })
    .facts;
    assert!(facts.reads.len() <= 256, "{}", facts.reads.len());
    for at in (0..600).map(|at| 14 + 3 * at) {
        assert!(facts.reads.iter().any(|span| (span.start..span.end).contains(&at)), "{at}");
    }
}
