//! Paths that meet: the second is walked on as well, where it can do what the first could not.

use super::*;
use xhop_asm::R9;

type Part<'a> = &'a dyn Fn(&mut Assembler);

/// `first` or `second` in a packet of 64 bytes, in this order, and then `both`.
fn meeting(asm: &mut Assembler, first: Part, second: Part, both: Part) {
    let (other, meet) = (asm.label("other"), asm.label("meet"));
    asm.load(R9, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
    asm.mov(R8, R1, "context");
    packet(asm, 64);
    asm.jump_if(R9.eq(1), &other, "one way or the other");
    first(asm);
    asm.jump(&meet, "meet");
    asm.bind(other);
    second(asm);
    asm.bind(meet);
    both(asm);
    leave(asm);
}

/// The rule is broken after the second way, not after the first.
#[track_caller]
fn second_breaks(rule: Rule, first: Part, second: Part, both: Part) {
    drop(passes(|asm| meeting(asm, first, first, both)));
    breaks(rule, |asm| meeting(asm, first, second, both));
}

#[test]
fn addresses_of_other_places() {
    let at = |off: i32| {
        move |asm: &mut Assembler| {
            asm.mov(R3, R6, "packet");
            asm.add(R3, off, "somewhere in it");
        }
    };
    let both: Part = &|asm| asm.load(R4, R3.u8(60), HERE);
    second_breaks(Rule::PacketBounds, &at(0), &at(4), both);
    let kept = |asm: &mut Assembler| asm.store(FP.u64(-8), R6, "packet");
    let far = |asm: &mut Assembler| {
        asm.mov(R3, R6, "packet");
        asm.add(R3, 64, "after it");
        asm.store(FP.u64(-8), R3, "kept");
    };
    second_breaks(Rule::PacketBounds, &kept, &far, &|asm| {
        asm.load(R3, FP.u64(-8), "back");
        asm.load(R4, R3.u8(0), HERE);
    });
}

/// All that an instruction reads matters where paths meet.
#[test]
fn what_is_read_later() {
    let number: Part = &|asm| asm.mov(R5, 0, "a number");
    let address: Part = &|asm| asm.mov(R5, R6, "an address");
    let readers: [(Rule, Part); 4] = [
        (Rule::PointerLeak, &|asm| asm.store(R6.u64(0), R5, HERE)),
        (Rule::PointerArithmetic, &|asm| asm.modulo(R5, 7, HERE)),
        (Rule::PointerLeak, &|asm| {
            let out = asm.label("out");
            asm.mov(R4, 1, "a number");
            asm.jump_if(R4.gt(R5), &out, HERE);
            asm.bind(out);
        }),
        (Rule::Call, &|asm| {
            for reg in [R1, R2, R3, R4] {
                asm.mov(reg, 0, "nothing");
            }
            asm.call(Helper::CSUM_DIFF, HERE);
        }),
    ];
    for (rule, both) in readers {
        breaks(rule, |asm| meeting(asm, number, address, both));
    }
    breaks(Rule::PointerLeak, |asm| {
        let (other, meet) = (asm.label("other"), asm.label("meet"));
        asm.load(R9, R1.u32(xdp_md::INGRESS_IFINDEX), "a number");
        asm.load(R6, R1.u32(xdp_md::DATA), "packet");
        asm.jump_if(R9.eq(1), &other, "one way or the other");
        asm.mov(R0, 2, "a number");
        asm.jump(&meet, "meet");
        asm.bind(other);
        asm.mov(R0, R6, "an address");
        asm.bind(meet);
        asm.exit(HERE);
    });
}

#[test]
fn packets_that_were_checked_less_far() {
    let further: Part = &|asm| {
        let enough = asm.label("more");
        asm.mov(R2, R6, "packet");
        asm.add(R2, 80, "so much");
        asm.jump_if(R2.le(R7), &enough, "is there");
        leave(asm);
        asm.bind(enough);
    };
    breaks(Rule::PacketBounds, |asm| {
        meeting(asm, further, &|_| {}, &|asm| asm.load(R4, R6.u8(70), HERE));
    });
}

/// `reg` = packet + the byte at `at` & `mask` + `more`.
fn somewhere(asm: &mut Assembler, reg: xhop_asm::Reg, at: i16, mask: i32, more: i32) {
    asm.load(reg, R6.u8(at), "a byte");
    asm.and(reg, mask, "some of it");
    asm.add(reg, more, "and more");
    asm.add(reg, R6, "into the packet");
}

#[test]
fn addresses_that_were_checked_for_others() {
    let alike: Part = &|asm| {
        somewhere(asm, R3, 0, 7, 0);
        asm.mov(R4, R3, "the same");
    };
    let others: Part = &|asm| {
        somewhere(asm, R3, 0, 7, 0);
        somewhere(asm, R4, 1, 7, 0);
    };
    second_breaks(Rule::PacketBounds, alike, others, &|asm| {
        let out = asm.label("out");
        asm.mov(R2, R3, "one");
        asm.add(R2, 8, "and eight bytes");
        asm.jump_if(R2.gt(R7), &out, "are there?");
        asm.load(R5, R4.u8(7), HERE);
        asm.bind(out);
    });
}

/// All places are said that any path may mean.
#[test]
fn places_that_are_further_apart() {
    for (mask, more) in [(7, 4), (7, 0), (248, 7)] {
        let facts = passes(|asm| {
            let some: Part = &|asm| somewhere(asm, R3, 0, mask, more);
            let any: Part = &|asm| somewhere(asm, R3, 0, 255, 0);
            meeting(asm, some, any, &|asm| {
                let out = asm.label("out");
                asm.mov(R2, R3, "there");
                asm.add(R2, 1, "a byte");
                asm.jump_if(R2.gt(R7), &out, "is there?");
                asm.store(R3.u8(0), 0, "written");
                asm.bind(out);
            });
        })
        .facts;
        assert_eq!(texts(&facts.writes), ["frame[0..256]"]);
    }
}

#[test]
fn values_that_were_found_by_another_lookup() {
    let find = |asm: &mut Assembler, map| {
        asm.store(FP.u32(-4), 7, "key");
        asm.load_map(R1, map, "map");
        asm.mov(R2, FP, "key:");
        asm.add(R2, -4, "on the stack");
        asm.call(Helper::MAP_LOOKUP_ELEM, "look it up");
    };
    for (twice, fine) in [(false, true), (true, false)] {
        let build = |asm: &mut Assembler| {
            let map = asm.map(values());
            let once: Part = &|asm| {
                find(asm, map);
                asm.mov(R7, R0, "the same");
            };
            let again: Part = &|asm| {
                find(asm, map);
                asm.mov(R7, R0, "one");
                find(asm, map);
            };
            meeting(asm, once, if twice { again } else { once }, &|asm| {
                let none = asm.label("none");
                asm.jump_if(R7.eq(0), &none, "none");
                asm.load(R2, R0.u32(0), HERE);
                asm.bind(none);
            });
        };
        if fine { drop(passes(build)) } else { breaks(Rule::NullCheck, build) }
    }
}

#[test]
fn what_is_on_the_stack() {
    let number: Part = &|asm| asm.store(FP.u64(-8), 0, "a number");
    let half: Part = &|asm| asm.store(FP.u32(-8), 0, "half of it");
    let address: Part = &|asm| asm.store(FP.u64(-8), R6, "an address");
    let nothing: Part = &|_| {};
    let load: Part = &|asm| asm.load(R3, FP.u64(-8), HERE);
    second_breaks(Rule::Stack, number, nothing, load);
    second_breaks(Rule::Stack, number, half, load);
    second_breaks(Rule::Stack, address, nothing, load);
    second_breaks(Rule::NoPointer, address, number, &|asm| {
        asm.load(R3, FP.u64(-8), "back");
        asm.load(R4, R3.u8(0), HERE);
    });
    second_breaks(Rule::PointerArithmetic, number, address, &|asm| {
        asm.load(R3, FP.u64(-8), "back");
        asm.mul(R3, 2, HERE);
    });
}

#[test]
fn numbers_of_which_less_is_known() {
    let small: Part = &|asm| {
        asm.load(R3, R6.u8(0), "up to 255");
        asm.add(R3, 0, "as a number, no field");
    };
    let above: Part = &|asm| {
        asm.load(R3, R6.u8(0), "up to 255");
        asm.add(R3, 1, "1..=256");
    };
    let half: Part = &|asm| {
        asm.load(R3, R6.u8(0), "up to 255");
        asm.add(R3, 9, "and more");
        asm.add(R3, 1, "and more");
        asm.sub(R3, 10, "up to 255, of which the low half is not known");
    };
    let never = |bound: i32, low: bool| {
        move |asm: &mut Assembler| {
            let fine = asm.label("fine");
            if low {
                asm.mov32(R3, R3, "the low half");
            }
            asm.jump_if(R3.le(bound), &fine, "always");
            asm.mov(R4, R5, HERE);
            asm.bind(fine);
        }
    };
    let less: Part = &|asm| {
        let fine = asm.label("fine");
        asm.jump_if(R3.ge(1), &fine, "always");
        asm.mov(R4, R5, HERE);
        asm.bind(fine);
    };
    let cases: [(Part, Part, Part); 3] = [
        (small, above, &never(255, false)),
        (small, half, &never(255, true)),
        (above, small, less),
    ];
    for (first, second, both) in cases {
        breaks(Rule::Uninitialised, |asm| meeting(asm, first, second, both));
        let one = report(|asm| meeting(asm, first, first, both)).findings;
        assert!(one.iter().all(|finding| finding.rule == Rule::Unreachable), "{one:?}");
    }
}

/// What a field says on one path it does not say of another field.
#[test]
fn fields_of_another_path() {
    let facts = passes(|asm| {
        let ethertype: Part = &|asm| asm.load(R3, R6.u16(12), "EtherType");
        let another: Part = &|asm| asm.load(R3, R6.u16(20), "another field");
        meeting(asm, ethertype, another, &|asm| {
            let out = asm.label("out");
            asm.load(R4, R6.u16(12), "EtherType");
            asm.jump_if(R4.ne(0x0008), &out, "not IPv4");
            asm.jump_if(R3.eq(0x0008), &out, "the same");
            asm.store(R6.u8(40), 0, "written");
            asm.bind(out);
        });
    })
    .facts;
    assert_eq!(texts(&facts.writes), ["frame[40..41]"]);
}
