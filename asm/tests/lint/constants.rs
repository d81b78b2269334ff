//! Constants that go by way of the stack: they tell where the program reads and writes, and prove nothing.

use super::*;

/// Reads the byte of the packet at the place that byte -5 of the stack tells.
fn read_there(asm: &mut Assembler) {
    let out = asm.label("out");
    asm.load(R4, FP.u8(-5), "where");
    asm.add(R4, R6, "in the packet");
    asm.mov(R5, R4, "the byte");
    asm.add(R5, 1, "and its end");
    asm.jump_if(R5.gt(R7), &out, "is it there?");
    asm.load(R3, R4.u8(0), "what stands there");
    asm.bind(out);
    leave(asm);
}

/// What is read, after `store`, which finds a number that is not known in `r3`.
fn reads(store: impl FnOnce(&mut Assembler)) -> Vec<String> {
    let build = |asm: &mut Assembler| {
        asm.load(R3, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        packet(asm, 14);
        store(asm);
        read_there(asm);
    };
    texts(&passes(build).facts.reads)
}

#[test]
fn the_place_is_told() {
    assert_eq!(reads(|asm| asm.store(FP.u8(-5), 34, "where")), ["frame[34..35]"]);
    let beside = |asm: &mut Assembler| {
        asm.store(FP.u8(-5), 34, "where");
        asm.store(FP.u8(-6), R3, "beside it");
        asm.store(FP.u32(-4), R3, "beside it");
    };
    assert_eq!(reads(beside), ["frame[34..35]"]);
}

#[test]
fn the_place_is_told_of_each_path() {
    let either = |asm: &mut Assembler| {
        let (other, meet) = (asm.label("other"), asm.label("meet"));
        asm.jump_if(R3.eq(1), &other, "one or the other");
        asm.store(FP.u8(-5), 34, "one");
        asm.jump(&meet, "meet");
        asm.bind(other);
        asm.store(FP.u8(-5), 54, "the other");
        asm.bind(meet);
    };
    assert_eq!(reads(either), ["frame[34..35]", "frame[54..55]"]);
}

#[test]
fn what_is_no_constant_any_more() {
    let anywhere = ["frame[0..256]"];
    assert_eq!(reads(|asm| asm.store(FP.u8(-5), R3, "a number")), anywhere);
    let overwritten: [&dyn Fn(&mut Assembler); 4] = [
        &|asm| asm.store(FP.u8(-5), R3, "another number"),
        &|asm| asm.store(FP.u16(-6), 0, "with the byte beside it"),
        &|asm| asm.store(FP.u32(-8), R3, "with those beside it"),
        &|asm| asm.store(FP.u64(-8), 34, "with the whole slot"),
    ];
    for then in overwritten {
        let both = |asm: &mut Assembler| {
            asm.store(FP.u8(-5), 34, "where");
            then(asm);
        };
        assert_eq!(reads(both), anywhere);
    }
    // Computed with, it is any number too.
    let facts = passes(|asm| {
        packet(asm, 14);
        asm.store(FP.u8(-5), 34, "where");
        asm.load(R4, FP.u8(-5), "where");
        asm.and(R4, 1, "one bit");
        asm.add(R4, R6, "in the packet");
        asm.mov(R5, R4, "the byte");
        asm.add(R5, 1, "and its end");
        let out = asm.label("out");
        asm.jump_if(R5.gt(R7), &out, "is it there?");
        asm.load(R3, R4.u8(0), "what stands there");
        asm.bind(out);
        leave(asm);
    })
    .facts;
    assert_eq!(texts(&facts.reads), ["frame[0..2]"]);
}

/// To a kernel it is any number that a byte can hold (`check_stack_read_fixed_off`).
#[test]
fn a_comparison_goes_either_way() {
    for bound in [33, 34, 254] {
        passes(|asm| {
            let more = asm.label("more");
            asm.store(FP.u8(-5), 34, "a constant");
            asm.load(R2, FP.u8(-5), "the constant");
            asm.jump_if(R2.gt(bound), &more, "can it be?");
            leave(asm);
            asm.bind(more);
            leave(asm);
        });
    }
}

/// What is checked from there on is not known to be so far from the packet's first byte.
#[test]
fn nothing_else_is_checked_with_it() {
    breaks(Rule::PacketBounds, |asm| {
        let out = asm.label("out");
        packet(asm, 14);
        asm.store(FP.u8(-5), 34, "where");
        asm.load(R4, FP.u8(-5), "where");
        asm.add(R4, R6, "in the packet");
        asm.jump_if(R4.gt(R7), &out, "are there so many?");
        asm.load(R3, R6.u8(33), HERE);
        asm.bind(out);
        leave(asm);
    });
}

/// `find_good_pkt_pointers`: what may be further on than packets are long is not looked at.
#[test]
fn the_bound_is_what_a_byte_can_hold() {
    let far = |off: i32, build: &dyn Fn(&mut Assembler)| {
        report(|asm| {
            let out = asm.label("out");
            packet(asm, 14);
            asm.store(FP.u8(-5), 1, "where");
            asm.load(R4, FP.u8(-5), "where");
            asm.add(R4, R6, "in the packet");
            asm.add(R4, off, "and far on");
            asm.jump_if(R4.gt(R7), &out, "is it there?");
            build(asm);
            asm.bind(out);
            leave(asm);
        })
        .findings
    };
    let last = |asm: &mut Assembler| asm.load(R3, R4.u8(-1), "the last byte");
    assert_eq!(far(0xffff - 255, &last), []);
    let [found] = <[Finding; 1]>::try_from(far(0xffff - 254, &last)).expect("one");
    assert_eq!(found.rule, Rule::PacketBounds);
}
