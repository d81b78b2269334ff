//! The decoder against a real compiler: what clang makes of C, we list as `llvm-objdump` does.

mod tools;

use std::collections::BTreeSet;

use tools::Folder;
use xhop_asm::{ByteOrder, Insn, Item, Operand, Size, disassemble};

const SOURCES: [&str; 4] = ["packet", "arithmetic", "functions", "atomics"];

/// How an object is made.
struct Config {
    compiler: &'static str,
    isa: u8,
    optimised: &'static str,
    triple: &'static str,
    order: ByteOrder,
}

/// Each ISA up to `last`, each with and without optimisation, in both byte orders.
fn configs(compiler: &'static str, last: u8) -> Vec<Config> {
    let mut configs = Vec::new();
    for isa in 1..=last {
        for optimised in ["-O0", "-O2"] {
            for (triple, order) in [("bpfel", ByteOrder::Little), ("bpfeb", ByteOrder::Big)] {
                configs.push(Config { compiler, isa, optimised, triple, order });
            }
        }
    }
    configs
}

fn compile(folder: &Folder, source: &str, config: &Config) -> String {
    let Config { compiler, isa, optimised, triple, .. } = config;
    let input = format!("{}/tests/compiler/{source}.c", env!("CARGO_MANIFEST_DIR"));
    let object = folder.at(&format!("{source}-{compiler}-v{isa}{optimised}-{triple}.o"));
    let (cpu, isa) = (format!("-mcpu=v{isa}"), format!("-DISA={isa}"));
    let options = ["-target", triple, &cpu, &isa, optimised, "-c", &input, "-o", &object];
    tools::run(&[&[*compiler], &options[..]].concat());
    object
}

/// The sections with code, and in each the lines as `slot: text`.
fn listed_by_llvm(object: &str) -> Vec<(String, Vec<String>)> {
    let objdump =
        ["llvm-objdump-19", "-d", "--no-show-raw-insn", "--no-print-imm-hex", "--mcpu=v4"];
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in tools::run(&[&objdump[..], &[object]].concat()).lines() {
        if let Some(name) = line.strip_prefix("Disassembly of section ") {
            sections.push((name.trim_end_matches(':').to_owned(), Vec::new()));
        } else if let (Some((slot, text)), Some((_, lines))) =
            (line.split_once(":\t"), sections.last_mut())
        {
            // The name of where a jump goes.
            let named = text.strip_suffix('>').and_then(|text| text.rsplit_once(" <"));
            let text = named.map_or(text, |(text, _)| text);
            lines.push(format!("{}: {text}", slot.trim()));
        }
    }
    sections
}

/// The differences in spelling, all of them.
fn respelled(item: &Item) -> String {
    let text = item.to_string();
    let Item::Insn(insn) = item else { return text };
    match insn {
        // With v3 and later LLVM names the half of the register.
        Insn::Load { mem, .. } if mem.size != Size::U64 => text.replacen('r', "w", 1),
        Insn::Store { mem, src: Operand::Reg(src) } if mem.size != Size::U64 => {
            text.replace(&format!("= {src}"), &format!("= w{}", src.number()))
        }
        // It shows all calls by their immediate, signed.
        Insn::Call { helper } => format!("call {}", helper.number()),
        Insn::CallLocal { off } => format!("call {off}"),
        // We show these in hex.
        Insn::LoadImm64 { dst, imm } => format!("{dst} = {} ll", *imm as i64),
        _ => text,
    }
}

fn listed_by_us(items: &[Item]) -> Vec<String> {
    let mut slot = 0;
    let line = |item: &Item| {
        let line = format!("{slot}: {}", respelled(item));
        slot += item.slots();
        line
    };
    items.iter().map(line).collect()
}

/// The variant, and with `Alu` the operation.
fn form(item: &Item) -> String {
    match item {
        Item::Insn(Insn::Alu { op, .. }) => format!("{op:?}"),
        Item::Insn(insn) => format!("{insn:?}").split(' ').next().unwrap_or_default().to_owned(),
        _ => "Unknown".to_owned(),
    }
}

/// Lists what the compiler makes of all sources, and gives the forms that occurred.
fn listed_as_llvm_lists_it(compiler: &'static str, last: u8) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let folder = Folder::new(&format!("compiler-{compiler}"));
    for config in configs(compiler, last) {
        for source in SOURCES {
            let object = compile(&folder, source, &config);
            let sections = listed_by_llvm(&object);
            assert!(!sections.is_empty(), "{object}");
            for (section, theirs) in sections {
                let items = disassemble(&tools::section(&object, &section), config.order);
                let ours = listed_by_us(&items);
                for (ours, theirs) in ours.iter().zip(&theirs) {
                    assert_eq!(ours, theirs, "{object}, {section}");
                }
                assert_eq!(ours.len(), theirs.len(), "{object}, {section}");
                seen.extend(items.iter().map(form));
            }
        }
    }
    seen
}

fn have(test: &str, clang: &str) -> bool {
    tools::have(test, clang, clang) && tools::have(test, "llvm-objdump-19", "llvm-19")
}

#[test]
fn of_debians_clang() {
    if have("of_debians_clang", "clang") {
        listed_as_llvm_lists_it("clang", 3);
    }
}

#[test]
fn of_the_first_clang_with_v4() {
    if !have("of_the_first_clang_with_v4", "clang-19") {
        return;
    }
    let seen = listed_as_llvm_lists_it("clang-19", 4);
    // All that a compiler makes; what is missing is in other tests.
    let forms = "Add And Arsh Atomic AtomicFetch Branch Call CallLocal CallReg CompareExchange Div \
                 Endian Exit Jump Load LoadImm64 LoadSigned Lsh Mod Mov MoveSigned Mul Neg Or Rsh \
                 Sdiv Smod Store Sub Swap Xor";
    assert_eq!(seen.into_iter().collect::<Vec<_>>().join(" "), forms);
}
