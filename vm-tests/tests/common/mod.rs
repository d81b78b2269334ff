//! Small programs to try the VM with.

// Each test file uses its share.
#![allow(dead_code)]

use xhop_asm::xdp::xdp_md;
use xhop_asm::{
    Assembler, FP, Helper, MapDecl, MapIndex, MapKind, Mem, Pointer, Program, R0, R1, R2, R3,
};
use xhop_vm::{Error, Outcome, Vm};

/// A hash of two entries.
pub const HASH: MapDecl = MapDecl {
    name: "hash",
    kind: MapKind::Hash,
    key_size: 4,
    value_size: 8,
    max_entries: 2,
    flags: 0,
};

/// Interfaces.
pub const PORTS: MapDecl = MapDecl {
    name: "ports",
    kind: MapKind::DevmapHash,
    key_size: 4,
    value_size: 4,
    max_entries: 8,
    flags: 0,
};

/// Three counters.
pub const STATS: MapDecl = MapDecl {
    name: "stats",
    kind: MapKind::PercpuArray,
    key_size: 4,
    value_size: 8,
    max_entries: 3,
    flags: 0,
};

/// A program of the given instructions, with `exit` at its end.
pub fn program(body: impl FnOnce(&mut Assembler)) -> Program {
    let mut asm = Assembler::new("test");
    body(&mut asm);
    asm.exit("done");
    asm.finish().expect("assembles")
}

pub fn run(program: &Program, packet: impl AsRef<[u8]>) -> Result<Outcome, Error> {
    Vm::new(program).expect("loads").run(packet, 7)
}

/// `r0` of a run on ten bytes 0..10.
pub fn r0(body: impl FnOnce(&mut Assembler)) -> u64 {
    run(&program(body), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).expect("runs").verdict
}

/// What the instruction at fault is for, and what is said of it.
pub fn fault(result: Result<Outcome, Error>) -> (String, String) {
    match result {
        Err(Error::Insn { place: Some(place), what, .. }) => (place.comment, what),
        other => panic!("no fault of an instruction: {other:?}"),
    }
}

/// The message of a helper that can't do its work.
pub fn call_error(body: impl FnOnce(&mut Assembler)) -> String {
    match run(&program(body), [0; 64]) {
        Err(Error::Call { what, .. }) => what,
        other => panic!("no fault of a call: {other:?}"),
    }
}

/// Loads from the packet at `place(r2)`.
pub fn peek(place: impl FnOnce(xhop_asm::Reg) -> Mem) -> Program {
    program(|asm| {
        asm.load(R2, R1.u32(xdp_md::DATA), "packet");
        asm.load_imm64(R3, 1, "makes slots and lines differ");
        asm.load(R0, place(R2), "the access");
    })
}

/// `r1 = map, r2 = &key` on the stack.
pub fn map_args(asm: &mut Assembler, map: MapIndex, key: i32) {
    asm.store(FP.u32(-4), key, "key");
    asm.load_map(R1, map, "map");
    asm.mov(R2, FP, "stack");
    asm.add(R2, -4, "&key");
}

/// `r0 = *lookup(map, key)`, or 99.
pub fn lookup(decl: MapDecl, key: i32) -> Program {
    program(|asm| {
        let map = asm.map(decl);
        let out = asm.label("out");
        map_args(asm, map, key);
        asm.call(Helper::MAP_LOOKUP_ELEM, "value or NULL");
        asm.mov(R1, R0, "value");
        asm.mov(R0, 99, "says: none");
        asm.jump_if(R1.eq(0), &out, "no entry");
        asm.load(R0, R1.u64(0), "value");
        asm.add(R0, 1, "counts");
        asm.store(R1.u64(0), R0, "writes back");
        asm.bind(out);
    })
}

/// Whether a helper's result is -EINVAL, in the 32 bits of a verdict.
pub fn is_einval(verdict: u64) -> bool {
    verdict as u32 as i32 == -22
}
