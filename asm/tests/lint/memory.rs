//! Loads, stores and what helpers are given.

use super::*;

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
    // A key in which an address is.
    breaks(Rule::Stack, |asm| {
        let map = asm.map(values());
        asm.store(FP.u64(-8), R1, "an address");
        asm.load_map(R1, map, "map");
        asm.mov(R2, FP, "key:");
        asm.add(R2, -8, "on the stack");
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
fn maps_and_helpers() {
    let stray = assemble(|asm| {
        let map = asm.map(values());
        asm.load_map(R1, map, "map");
        leave(asm);
    });
    let found = lint(Hook::Xdp, &stray.bytes(ByteOrder::Little), &[]).findings;
    assert_eq!(rules(&found), [(0, Rule::Map)], "{found:?}");

    // A hash gives no interfaces.
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

/// `bpf_csum_diff` of so many bytes of the packet from either side.
fn sum(asm: &mut Assembler, from: i32, to: i32) {
    packet(asm, 264);
    for (reg, len, size) in [(R1, R2, from), (R3, R4, to)] {
        asm.mov(reg, R6, "packet");
        asm.mov(len, size, "so much");
    }
    asm.mov(R5, 0, "seed");
}

#[test]
fn sums() {
    let facts = passes(|asm| {
        sum(asm, 252, 260);
        asm.call(Helper::CSUM_DIFF, HERE);
        leave(asm);
    })
    .facts;
    assert_eq!(facts.reads.first().map(|span| span.start), Some(0));
    assert_eq!(facts.reads.last().map(|span| span.end), Some(260));
    assert_eq!(facts.summed, 512);
    // Nothing of something, what was not checked, what no check covers.
    for (from, to) in [(0, 4), (4, 268), (4, 0x1_0000)] {
        let rule = if to == 268 { Rule::PacketBounds } else { Rule::Call };
        breaks(rule, |asm| {
            sum(asm, from, to);
            asm.call(Helper::CSUM_DIFF, HERE);
            leave(asm);
        });
    }
    breaks(Rule::Call, |asm| {
        sum(asm, 4, 4);
        asm.mov(R5, FP, "no number");
        asm.call(Helper::CSUM_DIFF, HERE);
        leave(asm);
    });
}

/// Older kernels answer `-EINVAL` to more than 512 bytes, of both sides together.
#[test]
fn sums_that_are_long_for_older_kernels() {
    for (from, to, told) in [
        (252, 260, "bpf_csum_diff"),
        (256, 260, "bpf_csum_diff (516 bytes: -EINVAL before kernel 6.13)"),
    ] {
        let facts = passes(|asm| {
            sum(asm, from, to);
            asm.call(Helper::CSUM_DIFF, HERE);
            leave(asm);
        })
        .facts;
        assert_eq!(facts.summed, (from + to) as u32);
        let lines = facts.lines(&[]);
        assert!(lines.contains(&("helpers", told.to_owned())), "{lines:?}");
    }
    // The stack has no more.
    for (to, fine) in [(512, true), (516, false)] {
        let build = |asm: &mut Assembler| {
            for off in (-512..0).step_by(8) {
                asm.store(FP.u64(off), 0, "something");
            }
            asm.mov(R1, 0, "null");
            asm.mov(R2, 0, "nothing");
            asm.mov(R3, FP, "stack");
            asm.add(R3, -512, "all of it");
            asm.mov(R4, to, "so much");
            asm.mov(R5, 0, "seed");
            asm.call(Helper::CSUM_DIFF, HERE);
            leave(asm);
        };
        if fine { drop(passes(build)) } else { breaks(Rule::Stack, build) }
    }
}

/// Maps that a program may only read, or only write (`BPF_F_RDONLY_PROG`, `BPF_F_WRONLY_PROG`).
#[test]
fn maps_that_are_restricted() {
    for (flags, fine) in [(1, true), (1 << 7, false), (1 << 8, false)] {
        let build = |asm: &mut Assembler| {
            let map = asm.map(MapDecl { flags, ..values() });
            asm.store(FP.u32(-4), 7, "key");
            asm.load_map(R1, map, "map");
            asm.mov(R2, FP, "key:");
            asm.add(R2, -4, "on the stack");
            asm.call(Helper::MAP_LOOKUP_ELEM, HERE);
            leave(asm);
        };
        if fine { drop(passes(build)) } else { breaks(Rule::Map, build) }
    }
}
