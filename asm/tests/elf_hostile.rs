//! Objects that nobody's compiler made: no panic, and no more time or memory than their size allows.

mod tools;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tools::Folder;
use xhop_asm::elf::{ElfError, Object, object};
use xhop_asm::programs::{Checksum, Shipped};

const SECTION_HEADER: usize = 64;
const E_SHOFF: usize = 40;
const E_SHNUM: usize = 60;

fn good(shipped: Shipped) -> Vec<u8> {
    object(&shipped.program().expect("assembles"))
}

/// Reads it; whatever the outcome, it is bounded.
fn parse(bytes: &[u8]) -> Result<Object, ElfError> {
    let start = Instant::now();
    let parsed = Object::parse(bytes);
    // A good one takes microseconds.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    if let Ok(object) = &parsed {
        let code: usize = object.sections().iter().map(|section| section.bytes.len()).sum();
        assert!(code <= bytes.len() && object.maps().len() <= 1024);
        for section in object.sections() {
            assert_eq!(section.little_endian().len(), section.bytes.len());
        }
    }
    if let Err(error) = &parsed {
        assert_eq!(error.to_string().lines().count(), 1);
    }
    parsed
}

fn get(bytes: &[u8], at: usize) -> usize {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")) as usize
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Where the header of section `index` is.
fn header(bytes: &[u8], index: usize) -> usize {
    get(bytes, E_SHOFF) + index * SECTION_HEADER
}

#[test]
fn cut_anywhere() {
    let whole = good(Shipped::Forward(Checksum::Keep));
    assert!(parse(&whole).is_ok());
    for len in 0..whole.len() {
        // The table of sections comes last.
        assert!(parse(&whole[..len]).is_err(), "{len}");
    }
}

#[test]
fn each_byte_wrong() {
    let mut bytes = good(Shipped::Forward(Checksum::Keep));
    for at in 0..bytes.len() {
        let was = bytes[at];
        for wrong in [0xff, was ^ 1] {
            bytes[at] = wrong;
            let _ = parse(&bytes);
        }
        bytes[at] = was;
    }
}

/// A header for the same section, as often as there may be headers: the code in all of them would take all
/// memory, the relocations all time.
#[test]
fn sections_that_overlap() {
    const CODE: usize = 1;
    const RELOCATIONS: usize = 8;
    const COUNT: usize = 0xffff;
    for section in [CODE, RELOCATIONS] {
        let mut bytes = good(Shipped::Forward(Checksum::Complete));
        let at = header(&bytes, section);
        let one = bytes[at..at + SECTION_HEADER].to_vec();
        bytes.extend(one.repeat(COUNT - RELOCATIONS - 1));
        bytes[E_SHNUM..E_SHNUM + 2].fill(0xff);
        let whole = (bytes.len() - get(&one, 24)) as u64;
        for index in RELOCATIONS + 1..COUNT {
            let at = header(&bytes, index);
            // More relocations than there were would not fit the code.
            if section == CODE {
                put(&mut bytes, at + 32, whole);
            }
        }
        assert_eq!(parse(&bytes), Err(ElfError::Overlap), "{section}");
    }
}

#[test]
fn a_size_of_everything() {
    let whole = good(Shipped::Forward(Checksum::Keep));
    for section in 1..9 {
        for field in [24, 32] {
            for value in [u64::MAX, u64::MAX / 2, whole.len() as u64, 1 << 32] {
                let mut bytes = whole.clone();
                let at = header(&whole, section) + field;
                put(&mut bytes, at, value);
                let _ = parse(&bytes);
            }
        }
    }
}

/// Types that are made of themselves.
#[test]
fn btf_that_never_ends() {
    const BTF: usize = 3;
    let whole = good(Shipped::Forward(Checksum::Keep));
    let maps = parse(&whole).expect("good").maps().len();
    let at = get(&whole, header(&whole, BTF) + 24);
    let types = u32::from_le_bytes(whole[at + 12..at + 16].try_into().expect("four bytes"));
    for kind in [2u8, 3, 8, 10, 18] {
        // Each number in turn is what everything refers to.
        for number in 1..20u32 {
            let mut bytes = whole.clone();
            for place in (at + 24..at + 24 + types as usize).step_by(4) {
                bytes[place..place + 4].copy_from_slice(&number.to_le_bytes());
                if (place - at - 24) % 12 == 4 {
                    bytes[place..place + 4].copy_from_slice(&[0, 0, 0, kind]);
                }
            }
            let object = parse(&bytes).expect("the code is as it was");
            // What no BTF defines is still named by its symbol.
            assert_eq!(object.maps().len(), maps);
            assert!(object.maps().iter().all(|map| map.kind == 0));
        }
    }
}

/// A change somewhere in an object.
#[derive(Clone, Debug)]
enum Change {
    Byte(Index, u8),
    Word(Index, u32),
    Copy { from: Index, to: Index, len: u8 },
    Cut(Index),
    Grow(u8, u16),
}

fn change() -> impl Strategy<Value = Change> {
    let numbers = select(vec![0, 1, 2, 5, 24, 64, 0xff, 0xffff, 0x7fff_ffff, u32::MAX]);
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        4 => (any::<Index>(), prop_oneof![numbers, any::<u32>(), 0..20_000u32])
            .prop_map(|(at, word)| Change::Word(at, word)),
        2 => (any::<Index>(), any::<Index>(), any::<u8>())
            .prop_map(|(from, to, len)| Change::Copy { from, to, len }),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => any::<(u8, u16)>().prop_map(|(byte, len)| Change::Grow(byte, len)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    match *change {
        Change::Byte(at, byte) => *at.get_mut(bytes) = byte,
        Change::Word(at, word) => {
            let at = at.index(bytes.len()) / 4 * 4;
            if let Some(place) = bytes.get_mut(at..at + 4) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        }
        Change::Copy { from, to, len } => {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let len = usize::from(len).min(bytes.len() - from.max(to));
            bytes.copy_within(from..from + len, to);
        }
        Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Change::Grow(byte, len) => bytes.resize(bytes.len() + usize::from(len), byte),
    }
}

/// Good objects: ours, and clang's where there is one.
fn base() -> impl Strategy<Value = Vec<u8>> {
    static GOOD: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let mut objects: Vec<Vec<u8>> = Shipped::ALL.into_iter().map(good).collect();
        let folder = Folder::new("elf_hostile");
        for target in ["bpfel", "bpfeb"] {
            objects.extend(folder.compile("elf_hostile", "clang", target, tools::SOURCE));
        }
        objects
    });
    select(GOOD.as_slice())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn changed_at_random(mut bytes in base(), changes in vec(change(), 1..12)) {
        for change in &changes {
            apply(&mut bytes, change);
        }
        let _ = parse(&bytes);
    }

    #[test]
    fn changed_in_the_tables(mut bytes in base(), changes in vec(change(), 1..4)) {
        // A big-endian one's are not found: there it is any part.
        let at = get(&bytes, E_SHOFF) % bytes.len();
        let mut tables = bytes.split_off(at);
        for change in &changes {
            apply(&mut tables, change);
        }
        bytes.extend(tables);
        let _ = parse(&bytes);
    }

    #[test]
    fn noise(bytes in vec(any::<u8>(), 0..4096), like in 0..80usize) {
        // Begins like an object.
        let mut noise = good(Shipped::Pass)[..like.min(64)].to_vec();
        noise.extend(bytes);
        let _ = parse(&noise);
    }
}
