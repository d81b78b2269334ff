//! What the lint lets through, the kernel lets through too, and the VM does the same with it.

mod generate;
mod lab;

use std::os::fd::{AsFd, AsRawFd};

use generate::{Dice, KEYS, packet, text};
use lab::{lab, load_xdp};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use xhop::sys::bpf::{Map, TestRun, possible_cpus};
use xhop_asm::lint::lint_program;
use xhop_asm::{ByteOrder, Program};
use xhop_vm::Vm;

/// Programs that the lint must have let through.
const PROGRAMS: usize = 10_000;
/// Packets that each is run on.
const PACKETS: usize = 4;

/// What was seen among the programs that were let through.
#[derive(Default, Debug)]
struct Seen {
    refused: usize,
    loops: usize,
    lookups: usize,
    redirects: usize,
    writes: usize,
    verdicts: [usize; 5],
}

#[test]
fn what_the_lint_accepts_the_kernel_accepts() {
    lab("what_the_lint_accepts_the_kernel_accepts", |_| {
        stay_on_one_cpu();
        let first = std::env::var("XHOP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
        let maps = generate::maps().map(|decl| Map::create(&decl).expect("a map"));
        let (mut seen, mut accepted) = (Seen::default(), 0);
        for seed in first.. {
            if accepted == PROGRAMS {
                break;
            }
            let program = generate::program(seed);
            let report = lint_program(&program);
            if !report.findings.is_empty() {
                seen.refused += 1;
                continue;
            }
            accepted += 1;
            seen.loops += usize::from(!report.facts.loops.is_empty());
            seen.lookups += usize::from(report.facts.maps.iter().any(|map| map.looked_up));
            seen.redirects += usize::from(report.facts.maps.iter().any(|map| map.redirects));
            seen.writes += usize::from(!report.facts.writes.is_empty());
            compare(seed, &program, &maps, &mut seen);
        }
        eprintln!("{accepted} programs: {seen:?}");
        // The generator makes what it is for.
        let some = PROGRAMS / 20;
        assert!(seen.loops > some && seen.lookups > some && seen.redirects > some, "{seen:?}");
        assert!(seen.writes > some && seen.refused > some, "{seen:?}");
        assert!(seen.verdicts.iter().all(|n| *n > some), "{seen:?}");
    });
}

/// Counters are per CPU: one has them all.
fn stay_on_one_cpu() {
    let mut cpus = CpuSet::new();
    let here = nix::sched::sched_getcpu().expect("this CPU");
    cpus.set(here).expect("a CPU");
    sched_setaffinity(Pid::from_raw(0), &cpus).expect("one CPU");
}

/// Loads a program in both machines and runs it on the same packets with the same in the maps.
fn compare(seed: u64, program: &Program, maps: &[Map; 3], seen: &mut Seen) {
    let fds: Vec<i32> = maps.iter().map(|map| map.as_fd().as_raw_fd()).collect();
    let bytes = program.bytes(ByteOrder::NATIVE);
    let kernel = load_xdp("random", &bytes, &fds)
        .unwrap_or_else(|why| panic!("seed {seed}: the kernel refuses:\n{}\n{why}", text(program)));
    let vm = Vm::new(program)
        .unwrap_or_else(|why| panic!("seed {seed}: the VM refuses: {why}\n{}", text(program)));
    fill(maps, &vm);
    let mut dice = Dice::new(!seed);
    for _ in 0..PACKETS {
        let packet = packet(&mut dice);
        let run = TestRun { data_in: &packet, ctx_in: None, repeat: 1 };
        let result = kernel.test_run(&run).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let ours =
            vm.run(&packet, 1).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{}", text(program)));
        assert_eq!(
            u64::from(result.retval),
            ours.verdict,
            "seed {seed}, {packet:02x?}\n{}",
            text(program)
        );
        assert_eq!(result.data_out, ours.packet, "seed {seed}, {packet:02x?}\n{}", text(program));
        if let Some(count) = seen.verdicts.get_mut(result.retval as usize) {
            *count += 1;
        }
    }
    assert_eq!(contents(maps), vm_contents(&vm), "seed {seed}\n{}", text(program));
}

/// The same entries everywhere, whatever the last program left.
fn fill(maps: &[Map; 3], vm: &Vm) {
    let [table, slots, ports] = maps;
    let cpus = possible_cpus().expect("CPUs");
    let vm_map = |at: usize| vm.maps().get(at).expect("as many maps");
    for key in 0..KEYS {
        let key = key.to_ne_bytes();
        let value: Vec<u8> = (0..16).map(|n| n * 16 + key[0]).collect();
        table.update(&key, &value).expect("an entry");
        vm_map(0).insert(key, &value).expect("an entry");
        slots.update(&key, &vec![0; 16 * cpus]).expect("a slot");
        vm_map(1).insert(key, [0; 16]).expect("a slot");
    }
    // The loopback is everywhere.
    let lo = 1_u32.to_ne_bytes();
    ports.update(&lo, &lo).expect("a port");
    vm_map(2).insert(lo, lo).expect("a port");
}

/// All values of `table`, then those of `slots` on the one CPU that has any.
fn contents(maps: &[Map; 3]) -> Vec<Vec<u8>> {
    let [table, slots, _] = maps;
    let keys = || (0..KEYS).map(u32::to_ne_bytes);
    let tables = keys().map(|key| table.lookup(&key).expect("a lookup").expect("an entry"));
    let slots = keys().map(|key| {
        let cpus = slots.lookup_percpu(&key).expect("a lookup").expect("a slot");
        let used = cpus.iter().find(|value| value.iter().any(|byte| *byte != 0));
        used.unwrap_or(&cpus[0]).clone()
    });
    tables.chain(slots).collect()
}

fn vm_contents(vm: &Vm) -> Vec<Vec<u8>> {
    let values = |at: usize| {
        let map = vm.maps().get(at).expect("as many maps");
        (0..KEYS).map(|key| map.get(key.to_ne_bytes()).expect("a lookup").expect("an entry"))
    };
    values(0).chain(values(1)).collect()
}
