//! Maps, from outside and from a program.

mod common;

use common::*;
use xhop_asm::xdp::xdp_md;
use xhop_asm::{Assembler, FP, Helper, Insn, Pointer, R0, R1, R2};
use xhop_vm::packet::tcp;
use xhop_vm::{Error, Vm};

#[test]
fn hash_lookup() {
    let vm = Vm::new(&lookup(HASH, 5)).expect("loads");
    assert_eq!(vm.run([0; 14], 1).expect("runs").verdict, 99, "no entry yet");
    let map = vm.map("hash").expect("declared");
    map.insert(5u32.to_ne_bytes(), 41u64.to_ne_bytes()).expect("fits");
    map.insert(6u32.to_ne_bytes(), 1000u64.to_ne_bytes()).expect("fits");
    assert_eq!(vm.run([0; 14], 1).expect("runs").verdict, 42);
    assert_eq!(vm.run([0; 14], 1).expect("runs").verdict, 43, "entries outlive a run");
    assert_eq!(map.get(5u32.to_ne_bytes()).expect("fits"), Some(43u64.to_ne_bytes().to_vec()));
    assert_eq!(map.entries().len(), 2);
    assert!(map.remove(5u32.to_ne_bytes()).expect("fits"));
    assert!(!map.remove(5u32.to_ne_bytes()).expect("fits"));
    assert_eq!(vm.run([0; 14], 1).expect("runs").verdict, 99, "gone");
}

#[test]
fn array_lookup() {
    for (index, first) in [(0, 1), (2, 1), (3, 99), (-1, 99)] {
        let vm = Vm::new(&lookup(STATS, index)).expect("loads");
        assert_eq!(vm.run([0; 14], 1).expect("runs").verdict, first, "index {index}");
    }
    let vm = Vm::new(&lookup(STATS, 2)).expect("loads");
    let stats = vm.map("stats").expect("declared");
    stats.insert(2u32.to_ne_bytes(), 8u64.to_ne_bytes()).expect("in range");
    assert_eq!(vm.run([0; 14], 1).expect("runs").verdict, 9);
    assert!(matches!(stats.insert(3u32.to_ne_bytes(), [0; 8]), Err(Error::Full { .. })));
    stats.remove(2u32.to_ne_bytes()).expect("becomes zero");
    assert_eq!(stats.get(2u32.to_ne_bytes()).expect("fits"), Some(vec![0; 8]));
}

#[test]
fn maps_check_what_they_are_given() {
    let vm = Vm::new(&lookup(HASH, 5)).expect("loads");
    let map = vm.map("hash").expect("declared");
    let said = |result: Result<(), Error>| result.expect_err("must fail").to_string();
    assert_eq!(said(map.insert([1; 6], [0; 8])), "map `hash`: a key has 4 bytes, not 6");
    assert_eq!(said(map.insert([1; 4], [0; 4])), "map `hash`: a value has 8 bytes, not 4");
    assert!(map.get([1; 5]).is_err());
    map.insert([1; 4], [0; 8]).expect("first");
    map.insert([2; 4], [0; 8]).expect("second");
    map.insert([2; 4], [1; 8]).expect("over the second");
    assert!(matches!(map.insert([3; 4], [0; 8]), Err(Error::Full { max_entries: 2, .. })));
    let Err(error) = vm.map("hush") else { panic!("no such map") };
    assert_eq!(error.to_string(), "no map `hush`: the program has hash");
}

#[test]
fn values_end_to_the_byte() {
    let at = |access: fn(&mut Assembler)| {
        let program = program(|asm| {
            let map = asm.map(HASH);
            map_args(asm, map, 5);
            asm.call(Helper::MAP_LOOKUP_ELEM, "value");
            access(asm);
            asm.mov(R0, 0, "verdict");
        });
        let vm = Vm::new(&program).expect("loads");
        let map = vm.map("hash").expect("declared");
        map.insert(5u32.to_ne_bytes(), [0; 8]).expect("fits");
        vm.run([0; 14], 1)
    };
    assert!(at(|asm| asm.store(R0.u32(4), 1, "the end")).is_ok());
    assert!(at(|asm| asm.store(R0.u8(8), 1, "behind")).is_err());
    assert!(at(|asm| asm.load(R1, R0.u8(-1), "before")).is_err());
    let overrun = at(|asm| asm.store(R0.u32(6), 1, "half behind"));
    assert!(matches!(overrun, Err(Error::ValueOverrun { map: "hash", .. })));
}

#[test]
fn lookups_need_a_map_and_a_readable_key() {
    let not_a_map = call_error(|asm| {
        asm.mov(R1, 17, "no map");
        asm.mov(R2, FP, "stack");
        asm.call(Helper::MAP_LOOKUP_ELEM, "fails");
    });
    assert!(not_a_map.starts_with("r1 is 0x11, not a map"), "{not_a_map}");
    for key in [0, 8, 4096] {
        let unreadable = call_error(|asm| {
            let map = asm.map(HASH);
            asm.load_map(R1, map, "map");
            asm.mov(R2, key, "no address");
            asm.call(Helper::MAP_LOOKUP_ELEM, "fails");
        });
        assert!(unreadable.contains("4 bytes can't be read"), "{unreadable}");
    }
    let over_the_end = call_error(|asm| {
        let map = asm.map(HASH);
        asm.load(R2, R1.u32(xdp_md::DATA_END), "end");
        asm.add(R2, -3, "3 bytes before it");
        asm.load_map(R1, map, "map");
        asm.call(Helper::MAP_LOOKUP_ELEM, "fails");
    });
    assert!(over_the_end.contains("4 bytes can't be read"), "{over_the_end}");
}

#[test]
fn keys_may_be_in_the_packet() {
    let program = program(|asm| {
        let map = asm.map(HASH);
        asm.load(R2, R1.u32(xdp_md::DATA_END), "end");
        asm.add(R2, -4, "its last 4 bytes");
        asm.load_map(R1, map, "map");
        asm.call(Helper::MAP_LOOKUP_ELEM, "value");
        asm.load(R0, R0.u64(0), "value");
    });
    let vm = Vm::new(&program).expect("loads");
    vm.map("hash").expect("declared").insert([9; 4], 6u64.to_ne_bytes()).expect("fits");
    assert_eq!(vm.run([9; 20], 1).expect("runs").verdict, 6);
}

#[test]
fn maps_of_another_program_are_refused() {
    let mut other = Assembler::new("other");
    other.map(HASH);
    let second = other.map(PORTS);
    let program = program(|asm| {
        asm.map(STATS);
        asm.emit(Insn::LoadMap { dst: R1, map: second }, "not ours");
        asm.mov(R0, 0, "verdict");
    });
    let Err(error) = Vm::new(&program) else { panic!("must fail") };
    assert!(matches!(&error, Error::MapIndex { index: 1, maps: 1, .. }), "{error}");
}

#[test]
fn vms_do_not_meet() {
    let (one, two) = (Vm::new(&lookup(HASH, 5)), Vm::new(&lookup(HASH, 5)));
    let (one, two) = (one.expect("loads"), two.expect("loads"));
    let map = one.map("hash").expect("declared");
    map.insert(5u32.to_ne_bytes(), 41u64.to_ne_bytes()).expect("fits");
    let frame = tcp().bytes();
    assert_eq!(one.run(&frame, 1).expect("runs").verdict, 42);
    assert_eq!(two.run(&frame, 1).expect("runs").verdict, 99);
    let threads = [1u64, 2].map(|n| {
        std::thread::spawn(move || {
            let vm = Vm::new(&lookup(HASH, 5)).expect("loads");
            let map = vm.map("hash").expect("declared");
            map.insert(5u32.to_ne_bytes(), (n << 16).to_ne_bytes()).expect("fits");
            (0..200).map(|_| vm.run([0; 14], 1).expect("runs").verdict).max()
        })
    });
    let last = threads.map(|thread| thread.join().expect("no panic"));
    assert_eq!(last, [Some((1 << 16) + 200), Some((2 << 16) + 200)]);
}
