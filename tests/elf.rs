//! Our programs as ELF objects: the kernel takes them from libbpf, by bpftool, and runs the same.

mod lab;

use std::fs;

use lab::{Lab, Where, lab};
use serde_json::Value;
use xhop_asm::elf::object;
use xhop_asm::insn::{BPF_PSEUDO_MAP_FD, SLOT};
use xhop_asm::programs::Shipped;
use xhop_asm::{ByteOrder, Hook, Insn, Program};

const OBJECT: &str = "/run/program.o";
const BPF_F_RDONLY_PROG: u64 = 1 << 7;
const PIN: &str = "/sys/fs/bpf/program";

#[test]
fn bpftool_loads_what_we_write() {
    lab("bpftool_loads_what_we_write", |lab| {
        for shipped in Shipped::ALL {
            let program = shipped.program().expect("assembles");
            fs::write(OBJECT, object(&program)).expect("a file in /run");
            lab.ok_in(Where::Own, &["bpftool", "prog", "load", OBJECT, PIN]);
            let name = shipped.name();
            let shown = lab.json(Where::Own, &["bpftool", "-j", "prog", "show", "pinned", PIN]);
            let kind = if program.hook() == Hook::Tc { "sched_cls" } else { "xdp" };
            assert_eq!(shown["type"], kind, "{name}");
            assert_eq!(shown["name"], program.symbol(), "{name}");
            assert_eq!(shown["tag"], tag_by_descriptor(lab, &program), "{name}");
            same_maps(lab, &program, &shown);
            let dump = ["bpftool", "prog", "dump", "xlated", "pinned", PIN, "linum"];
            let listing = lab.ok_in(Where::Own, &dump);
            for line in program.lines() {
                let place = format!("; {} [file:{} line_num:", line.comment, line.at.file());
                assert!(listing.contains(&place), "{name}: {place}");
            }
            fs::remove_file(PIN).expect("a pin");
        }
    });
}

#[test]
fn bpftool_reads_its_types() {
    lab("bpftool_reads_its_types", |lab| {
        for shipped in Shipped::ALL {
            let program = shipped.program().expect("assembles");
            fs::write(OBJECT, object(&program)).expect("a file in /run");
            let shown = lab.ok_in(Where::Own, &["bpftool", "btf", "dump", "file", OBJECT]);
            assert!(shown.contains(&format!("FUNC '{}'", program.symbol())), "{shown}");
            for map in program.maps() {
                assert!(shown.contains(&format!("VAR '{}'", map.name)), "{shown}");
            }
        }
    });
}

/// The maps that the kernel has made for it are those that it declares, but for a flag that the kernel
/// sets by itself (`dev_map_init_map`, kernel/bpf/devmap.c).
fn same_maps(lab: &Lab, program: &Program, shown: &Value) {
    let ids = shown["map_ids"].as_array().map_or(&[][..], Vec::as_slice);
    let mut found: Vec<[Value; 6]> = ids
        .iter()
        .map(|id| {
            let map =
                lab.json(Where::Own, &["bpftool", "-j", "map", "show", "id", &id.to_string()]);
            ["name", "type", "bytes_key", "bytes_value", "max_entries", "flags"].map(
                |field| match (field, map[field].as_u64()) {
                    ("flags", Some(flags)) if map["type"] == "devmap_hash" => {
                        (flags & !BPF_F_RDONLY_PROG).into()
                    }
                    _ => map[field].clone(),
                },
            )
        })
        .collect();
    let mut declared: Vec<[Value; 6]> = program
        .maps()
        .iter()
        .map(|map| {
            let numbers = [map.key_size, map.value_size, map.max_entries, map.flags];
            let [key, value, entries, flags] = numbers.map(Value::from);
            [map.name.into(), map.kind.name().into(), key, value, entries, flags]
        })
        .collect();
    let by_name = |map: &[Value; 6]| map[0].as_str().map(str::to_owned);
    found.sort_by_key(by_name);
    declared.sort_by_key(by_name);
    assert_eq!(found, declared, "{}", program.name());
}

/// libbpf names maps by descriptor; the kernel's tag is of the bytes with those, zeroed.
fn tag_by_descriptor(lab: &Lab, program: &Program) -> String {
    assert_eq!(ByteOrder::NATIVE, ByteOrder::Little, "our objects are little-endian");
    let (mut bytes, mut at) = (program.bytes(ByteOrder::Little), 0);
    for line in program.lines() {
        if matches!(line.insn, Insn::LoadMap { .. }) {
            bytes[at + 1] = (bytes[at + 1] & 0x0f) | (BPF_PSEUDO_MAP_FD << 4);
            bytes[at + 4..at + SLOT].fill(0);
        }
        at += line.insn.slots() * SLOT;
    }
    lab.kernel_hash(&bytes)
}
