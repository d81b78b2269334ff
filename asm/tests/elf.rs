//! ELF objects: ours, as other tools read them, and clang's, as we read them.

mod tools;

use tools::{Folder, have, installed, run};
use xhop_asm::elf::{ElfError, Function, Object, Section, object};
use xhop_asm::programs::Shipped;
use xhop_asm::{ByteOrder, Insn, MapShape, Program};

fn shipped() -> impl Iterator<Item = (Program, Vec<u8>)> {
    Shipped::ALL.into_iter().map(|shipped| {
        let program = shipped.program().expect("assembles");
        let object = object(&program);
        (program, object)
    })
}

#[test]
fn what_we_write_we_read() {
    for (program, object) in shipped() {
        let object = Object::parse(&object).expect("our own");
        let expected = Section {
            name: program.hook().section().into(),
            order: ByteOrder::Little,
            bytes: program.bytes(ByteOrder::Little),
            functions: vec![Function { offset: 0, name: program.symbol() }],
        };
        assert_eq!(object.sections(), [expected]);
        let maps: Vec<MapShape> = program.maps().iter().map(MapShape::from).collect();
        assert_eq!(object.maps(), maps);
    }
}

#[test]
fn llvm_reads_it() {
    if !have("llvm_reads_it", "llvm-objdump", "llvm") {
        return;
    }
    let folder = Folder::new("llvm_reads_it");
    for (program, object) in shipped() {
        let path = folder.write("program.o", object);
        let objdumps = ["llvm-objdump", "llvm-objdump-19"].into_iter();
        for objdump in objdumps.filter(|objdump| installed(objdump)) {
            let shown = run(&[objdump, "-d", "-r", &path]);
            assert!(shown.contains(&format!("<{}>:", program.symbol())), "{shown}");
            assert_eq!(bytes_shown(&shown), program.bytes(ByteOrder::Little), "{objdump}");
            // A relocation at each map load, and nowhere else.
            let expected = program.lines().iter().filter_map(|line| match line.insn {
                Insn::LoadMap { map, .. } => Some(program.maps()[map.get() as usize].name),
                _ => None,
            });
            let found = shown.lines().filter_map(|line| line.split_once("R_BPF_64_64"));
            let found: Vec<&str> = found.map(|(_, name)| name.trim()).collect();
            assert_eq!(found, expected.collect::<Vec<_>>(), "{objdump}");
        }
        // Its line info too.
        if installed("llvm-objdump-19") {
            let shown = run(&["llvm-objdump-19", "-d", "-S", "-l", &path]);
            let missing = program.lines().iter().find(|line| {
                let place = format!("; {}:{}\n", line.at.file(), line.at.line());
                !shown.contains(&place) && !shown.contains(&format!("; {}\n", line.comment))
            });
            assert_eq!(missing, None);
        }
    }
}

/// The bytes in a listing: `       0:\tb7 00 00 00 02 00 00 00\tr0 = 2`
fn bytes_shown(listing: &str) -> Vec<u8> {
    let columns = listing.lines().filter_map(|line| {
        let (index, rest) = line.split_once(":\t")?;
        index.trim().parse::<usize>().ok()?;
        rest.split('\t').next()
    });
    let bytes = columns.flat_map(str::split_whitespace);
    bytes.map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
}

#[test]
fn readelf_has_nothing_to_say() {
    if !have("readelf_has_nothing_to_say", "readelf", "binutils") {
        return;
    }
    let folder = Folder::new("readelf_has_nothing_to_say");
    for (program, object) in shipped() {
        let path = folder.write("program.o", object);
        let shown = run(&["readelf", "-aW", &path]);
        for word in ["Linux BPF", ".BTF.ext", "license", &program.symbol()] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        for map in program.maps() {
            assert!(shown.contains(map.name), "{}: {shown}", map.name);
        }
    }
}

fn shape(name: &str, kind: u32, sizes: [u32; 3], flags: u32) -> MapShape {
    let [key_size, value_size, max_entries] = sizes;
    MapShape { name: name.into(), kind, key_size, value_size, max_entries, flags }
}

/// The 64-bit immediates of a section: source register, both halves of the immediate.
fn wide(section: &Section) -> Vec<(u8, u32, u32)> {
    let bytes = section.little_endian();
    let imm = |slot: &[u8]| u32::from_le_bytes(slot[4..8].try_into().expect("four bytes"));
    let slots: Vec<&[u8]> = bytes.chunks(8).collect();
    let wide = slots.windows(2).filter(|pair| pair[0][0] == 0x18);
    wide.map(|pair| (pair[0][1] >> 4, imm(pair[0]), imm(pair[1]))).collect()
}

fn check_clang(clang: &str) {
    let test = "clangs_objects_are_read";
    let folder = Folder::new(&format!("{test}-{clang}"));
    let compile = |target| folder.compile(test, clang, target, tools::SOURCE);
    let (Some(little), Some(big)) = (compile("bpfel"), compile("bpfeb")) else { return };
    for (bytes, order) in [(little, ByteOrder::Little), (big, ByteOrder::Big)] {
        let object = Object::parse(&bytes).expect("clang's");
        let defined = [
            shape("endpoints", 1, [4, 40, 8192], 1),
            shape("stats", 6, [4, 16, 4], 0),
            shape("outer", 12, [4, 4, 2], 0),
        ];
        let mut found = object.maps()[..3].to_vec();
        found.sort_by_key(|map| map.kind);
        let mut expected = defined.to_vec();
        expected.sort_by_key(|map| map.kind);
        assert_eq!(found, expected, "{clang} {order:?}");
        let used = [
            shape("before", 2, [4, 24, 3], 0),
            shape(".rodata", 2, [4, 12, 1], 1 << 7),
            shape(".data", 2, [4, 8, 1], 0),
            shape(".bss", 2, [4, 8, 1], 0),
        ];
        let mut others = object.maps()[3..].to_vec();
        others.sort_by(|one, other| other.name.cmp(&one.name));
        let mut expected = used.to_vec();
        expected.sort_by(|one, other| other.name.cmp(&one.name));
        assert_eq!(others, expected, "{clang} {order:?}");

        let place = |name: &str| object.maps().iter().position(|map| map.name == name);
        let place = |name: &str| place(name).expect("a map") as u32;
        let section = |name: &str| {
            let found = object.sections().iter().find(|section| section.name == name);
            found.unwrap_or_else(|| panic!("{clang}: no {name}"))
        };
        let xdp = section("xdp");
        assert_eq!(xdp.order, order);
        let names: Vec<&str> = xdp.functions.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["count", "more"]);
        let mut loads = wide(xdp);
        // The kernel's symbol is left as it was.
        assert!(loads.contains(&(0, 0, 0)), "{loads:x?}");
        loads.retain(|(src, ..)| *src != 0);
        loads.sort();
        loads.dedup();
        let mut expected = vec![
            (5, place("endpoints"), 0),
            (5, place("stats"), 0),
            (5, place("outer"), 0),
            (5, place("before"), 0),
            (6, place(".rodata"), 8),
            (6, place(".data"), 0),
        ];
        expected.sort();
        assert_eq!(loads, expected, "{clang} {order:?}");
        let text = section(".text");
        assert_eq!(text.functions, [Function { offset: 0, name: "help".into() }]);
        let bss = place(".bss");
        assert_eq!(wide(text), [(6, bss, 0), (6, bss, 4)]);
    }
}

#[test]
fn clangs_objects_are_read() {
    check_clang("clang");
    if installed("clang-19") {
        check_clang("clang-19");
    }
}

/// One source, both orders: turned, the instructions are the same.
#[test]
fn big_endian_is_turned() {
    const PLAIN: &str = "__attribute__((section(\"xdp\"))) int f(unsigned long long *x) {
        return x[1] > 0x123456789abcULL ? x[2] * 77 : x[3] / 1000; }";
    let test = "big_endian_is_turned";
    let folder = Folder::new(test);
    let parse = |target| {
        let object = folder.compile(test, "clang", target, PLAIN)?;
        Object::parse(&object).expect("clang's").sections().first().cloned()
    };
    let (Some(little), Some(big)) = (parse("bpfel"), parse("bpfeb")) else { return };
    assert_ne!(little.bytes, big.bytes);
    assert_eq!(little.little_endian(), big.little_endian());
}

#[test]
fn other_files_are_told_apart() {
    let elf = std::fs::read("/proc/self/exe").expect("this test");
    assert_eq!(Object::parse(&elf), Err(ElfError::NotBpf));
    assert_eq!(Object::parse(b"\x7fEL"), Err(ElfError::NotElf));
    assert_eq!(Object::parse(b""), Err(ElfError::NotElf));
    assert_eq!(Object::parse(b"\x7fELF"), Err(ElfError::NotBpf));
}
