//! What the VM lets programs do, what it stops, and how it says so.

mod common;

use common::*;
use xhop_asm::xdp::{self, xdp_md};
use xhop_asm::{
    AluOp, Assembler, AtomicOp, FP, Helper, Hook, Insn, Pointer, Program, R0, R1, R2, Width,
};
use xhop_vm::packet::catalogue;
use xhop_vm::{Error, Outcome, Vm};

#[test]
fn pass_passes_everything() {
    let vm = Vm::new(&xhop_asm::programs::pass().expect("assembles")).expect("loads");
    for case in catalogue() {
        let outcome = vm.run(&case.frame, 1).expect("runs");
        let (hook, packet) = (Hook::Xdp, case.frame);
        let expected = Outcome {
            hook,
            verdict: 2,
            packet,
            redirect: None,
            pkt_type: 3,
            csum_level: 0,
            notes: [0; 2],
            told: Vec::new(),
        };
        assert_eq!(outcome, expected, "{}", case.name);
        assert_eq!(outcome.action(), "XDP_PASS");
    }
}

#[test]
fn the_context_is_true() {
    let field = |offset| r0(|asm| asm.load(R0, R1.u32(offset), "a field"));
    assert_eq!(field(xdp_md::DATA_END) % 4096, 0, "the packet ends where a page does");
    assert_eq!(field(xdp_md::INGRESS_IFINDEX), 7);
    assert_eq!(field(xdp_md::RX_QUEUE_INDEX), 0);
    assert_eq!(field(xdp_md::EGRESS_IFINDEX), 0);
    let len = r0(|asm| {
        asm.load(R0, R1.u32(xdp_md::DATA_END), "end");
        asm.load(R2, R1.u32(xdp_md::DATA), "start");
        asm.sub(R0, R2, "length");
    });
    assert_eq!(len, 10);
    let meta = r0(|asm| {
        asm.load(R0, R1.u32(xdp_md::DATA_META), "metadata");
        asm.load(R2, R1.u32(xdp_md::DATA), "packet");
        asm.sub(R0, R2, "no metadata");
    });
    assert_eq!(meta, 0);
}

#[test]
fn the_packet_is_read_and_written() {
    let poke = program(|asm| {
        asm.load(R2, R1.u32(xdp_md::DATA), "packet");
        asm.load(R0, R2.u64(2), "its last 8 bytes");
        asm.store(R2.u16(8), 0x0201, "its last 2 bytes");
    });
    let outcome = run(&poke, [0, 0, 1, 0, 0, 0, 2, 0, 0, 0]).expect("runs");
    assert_eq!(outcome.verdict, 1, "r0 is cut to the 32 bits that the kernel looks at");
    assert_eq!(outcome.packet, [0, 0, 1, 0, 0, 0, 2, 0, 1, 2]);
}

#[test]
fn every_length_ends_to_the_byte() {
    for len in 0..=64i16 {
        let packet = vec![1; len as usize];
        for (size, program) in [
            (1, peek(|r2| r2.u8(len - 1))),
            (2, peek(|r2| r2.u16(len - 2))),
            (4, peek(|r2| r2.u32(len - 4))),
            (8, peek(|r2| r2.u64(len - 8))),
        ] {
            assert_eq!(run(&program, &packet).is_ok(), size <= len, "{size} bytes of {len}");
        }
        for over in 0..8 {
            let (comment, what) = fault(run(&peek(|r2| r2.u64(len - over)), &packet));
            let (start, end) = (len - over, len - over + 8);
            assert_eq!(comment, "the access");
            assert_eq!(what, format!("bytes {start}..{end} of the packet, which has {len}"));
        }
        assert!(run(&peek(|r2| r2.u32(len - 1)), &packet).is_err());
        assert!(run(&peek(|r2| r2.u16(len - 1)), &packet).is_err());
        assert!(run(&peek(|r2| r2.u8(len)), &packet).is_err());
    }
}

#[test]
fn the_headroom_is_closed() {
    for offset in [-1, -4, -14, -255, -256, -257] {
        let (_, what) = fault(run(&peek(|r2| r2.u8(offset)), [0; 20]));
        assert_eq!(what, format!("bytes {offset}..{} of the packet, which has 20", offset + 1));
    }
    // Half before, half in the packet.
    assert!(run(&peek(|r2| r2.u32(-2)), [0; 20]).is_err());
}

#[test]
fn faults_name_instruction_and_source() {
    let Err(error) = run(&peek(|r2| r2.u16(9)), [0; 10]) else { panic!("must fail") };
    let Error::Insn { place: Some(place), .. } = &error else { panic!("{error}") };
    assert_eq!(place.slot, 3, "the 64-bit load before it has two slots");
    assert!(place.at.file().ends_with("tests/common/mod.rs"));
    let said = error.to_string();
    let expected = "`test`: bytes 9..11 of the packet, which has 10: insn 3: r0 = *(u16 *)(r2 + 9) ; the access (";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn wild_pointers_are_faults() {
    let wild = program(|asm| {
        asm.mov(R2, 4096, "no address");
        asm.store(R2.u32(0), 1, "the access");
    });
    let (comment, what) = fault(run(&wild, [0; 14]));
    assert_eq!(comment, "the access");
    assert!(what.starts_with("4 bytes at 0x1000 are not in"), "{what}");
    // One byte below the stack's 512.
    let deep = program(|asm| asm.load(R0, FP.u8(-513), "the access"));
    assert_eq!(fault(run(&deep, [0; 14])).0, "the access");
    let over = program(|asm| asm.load(R0, R1.u32(22), "the access"));
    assert_eq!(fault(run(&over, [0; 14])).0, "the access");
}

#[test]
fn the_context_is_read_only() {
    let write = program(|asm| {
        asm.store(R1.u32(xdp_md::INGRESS_IFINDEX), 3, "the kernel refuses this");
        asm.mov(R0, xdp::PASS, "verdict");
    });
    assert!(matches!(run(&write, [0; 14]), Err(Error::CtxWritten { .. })));
}

#[test]
fn a_fault_leaves_the_vm_usable() {
    let vm = Vm::unlinted(&peek(|r2| r2.u8(20))).expect("loads");
    assert!(vm.run([1; 20], 1).is_err());
    assert_eq!(vm.run([5; 21], 1).expect("long enough").verdict, 5);
    assert!(vm.run([1; 20], 1).is_err());
}

#[test]
fn packets_of_all_sizes() {
    let vm = Vm::unlinted(&peek(|r2| r2.u8(13))).expect("loads");
    assert_eq!(vm.run(vec![3; 65535 + 14], 1).expect("a GSO packet").verdict, 3);
    assert!(matches!(vm.run(vec![3; 70000], 1), Err(Error::PacketTooLong { len: 70000, .. })));
    assert!(vm.run([], 1).is_err(), "nothing to read");
}

#[test]
fn what_rbpf_refuses_is_told() {
    let mut asm = Assembler::new("endless");
    asm.emit(Insn::Jump { off: -1 }, "for ever");
    asm.exit("never");
    let Err(error) = Vm::new(&asm.finish().expect("assembles")) else { panic!("must fail") };
    let expected = "`endless` is no program: [Verifier] Error: ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

/// `a = a op b` on 32 bits.
fn alu32(op: AluOp, a: u64, b: u64) -> Program {
    program(|asm| {
        let map = asm.map(STATS);
        map_args(asm, map, 0);
        asm.call(Helper::MAP_LOOKUP_ELEM, "a place for 64 bits");
        asm.load_imm64(R1, a, "a");
        asm.load_imm64(R2, b, "b");
        asm.emit(Insn::Alu { width: Width::W32, op, dst: R1, src: R2.into() }, "the operation");
        asm.store(R0.u64(0), R1, "all of a");
    })
}

#[test]
fn operations_on_32_bits_clear_the_upper_half() {
    let (a, b) = (0x8000_0005u32, 3);
    for (op, expected) in [
        (AluOp::Div, a / b),
        (AluOp::Or, a | b),
        (AluOp::And, a & b),
        (AluOp::Lsh, a << b),
        (AluOp::Rsh, a >> b),
        (AluOp::Mod, a % b),
        (AluOp::Xor, a ^ b),
        (AluOp::Mov, b),
        (AluOp::Arsh, (a as i32 >> b) as u32),
    ] {
        let high = 0xffff_ffff << 32;
        let vm = Vm::unlinted(&alu32(op, high | u64::from(a), high | u64::from(b))).expect("loads");
        vm.run([0; 14], 1).expect("runs");
        let result = vm.map("stats").expect("declared").get([0; 4]).expect("a key");
        assert_eq!(result, Some(u64::from(expected).to_ne_bytes().to_vec()), "{op:?}");
    }
}

#[test]
fn what_rbpf_computes_wrong_is_refused() {
    for op in [AluOp::Add, AluOp::Sub, AluOp::Mul] {
        let Err(error) = Vm::unlinted(&alu32(op, 1, 2)) else { panic!("must fail: {op:?}") };
        let Error::Alu32 { place } = &error else { panic!("{error}") };
        assert_eq!(place.comment, "the operation");
    }
}

/// It would run these as something else: it does not look at the field that tells them apart.
#[test]
fn what_rbpf_does_not_know_is_refused() {
    let src = R2.into();
    for insn in [
        Insn::Alu { width: Width::W64, op: AluOp::Sdiv, dst: R1, src: R2.into() },
        Insn::Alu { width: Width::W64, op: AluOp::Smod, dst: R1, src: 3.into() },
        Insn::MoveSigned { width: Width::W64, bits: 8, dst: R1, src },
        Insn::Atomic { op: AtomicOp::Or, mem: FP.u64(-8), src },
        Insn::CallLocal { off: 1 },
        Insn::LoadMapFd { dst: R1, fd: 1 },
    ] {
        let program = program(|asm| asm.emit(insn, "not of the VM's ISA"));
        let Err(error) = Vm::new(&program) else { panic!("must fail: {insn}") };
        let Error::Isa { place } = &error else { panic!("{error}") };
        assert_eq!(place.comment, "not of the VM's ISA");
    }
}
