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
