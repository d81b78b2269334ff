//! `audit`: clean after `up` in each way; and each way to tamper with our programs and their maps is
//! caught and named.

mod lab;

use std::fs;
use std::path::Path;

use lab::audit::{
    SHIPPED, audited, caught, clean, index, load_raw, maps, member, put, rtnl, segment,
};
use lab::{HOST, Lab, lab};
use xhop::sys::bpf::{Link, Map, Prog, XdpMode};
use xhop_asm::insn::SLOT;
use xhop_asm::{ByteOrder, Insn, MapDecl, Program};

const ATTACHES: [&str; 2] = ["link", "netlink"];

#[test]
fn what_up_has_made_is_clean() {
    lab("what_up_has_made_is_clean", |lab| {
        let pair = lab.pair();
        assert!(clean(lab).contains("no container is joined"));
        for attach in ATTACHES {
            for way in ["complete", "offload-off", "none"] {
                lab.xhop(&["up", "a", "b", "--attach", attach, "--checksum", way]).ok();
                let text = clean(lab);
                for word in ["veth-a", "veth-b", "[ok] tag", "[ok] translated", "all is as listed"]
                {
                    assert!(text.contains(word), "{word}: {text}");
                }
                assert_eq!(text.matches("line information agrees").count(), 2, "{text}");
            }
        }
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.xhop(&["up", "c", "a"]).ok();
        clean(lab);
        lab.xhop(&["down", "--all"]).ok();
        assert!(clean(lab).contains("no container is joined"));
    });
}

/// A pair that is joined, in each way to attach, then tampered with.
fn tampered(test: &str, tamper: impl Fn(&Lab, &str) + Send + Sync) {
    for attach in ATTACHES {
        lab(test, |lab| {
            lab.pair();
            lab.xhop(&["up", "a", "b", "--attach", attach]).ok();
            clean(lab);
            tamper(lab, attach);
        });
    }
}

/// The first line whose comment begins like this: its number, and the byte where it starts.
fn place(program: &Program, comment: &str) -> (usize, usize) {
    let lines = program.lines();
    let number = lines.iter().position(|line| line.comment.starts_with(comment)).expect("a line");
    (number, lines[..number].iter().map(|line| line.insn.slots() * SLOT).sum())
}

#[test]
fn one_changed_instruction() {
    tampered("one_changed_instruction", |lab, attach| {
        let program = SHIPPED.program().expect("assembles");
        let mut bytes = program.bytes(ByteOrder::NATIVE);
        // Spoofed packets are counted as any that pass.
        let (number, at) = place(&program, "verdict: spoofed");
        bytes[at + 4..at + 8].copy_from_slice(&1u32.to_ne_bytes());
        put(lab, "veth-a", attach, &load_raw(&bytes, &maps(lab, "veth-a", &program)));
        let what = format!("instruction {} `{}", at / SLOT, program.lines()[number].insn);
        caught(lab, &[("tag", "not "), ("translated", &what)]);
        let (_, findings) = audited(lab, 1);
        let found = findings[1]["found"].as_str().expect("found");
        assert!(found.contains("verdict: spoofed") && found.contains("forward.rs"), "{found}");
    });
}

#[test]
fn a_jump_that_lands_elsewhere() {
    tampered("a_jump_that_lands_elsewhere", |lab, attach| {
        let program = SHIPPED.program().expect("assembles");
        let mut bytes = program.bytes(ByteOrder::NATIVE);
        // Over the verdict to the action.
        let (_, at) = place(&program, "count it");
        let off = i16::from_ne_bytes([bytes[at + 2], bytes[at + 3]]) - 2;
        bytes[at + 2..at + 4].copy_from_slice(&off.to_ne_bytes());
        put(lab, "veth-b", attach, &load_raw(&bytes, &maps(lab, "veth-b", &program)));
        let what = format!("instruction {} `goto", at / SLOT);
        caught(lab, &[("tag", "not "), ("translated", &what)]);
    });
}

#[test]
fn a_foreign_program() {
    tampered("a_foreign_program", |lab, attach| {
        let pin = Path::new("/sys/fs/bpf/elsewhere");
        lab.pin_foreign(pin);
        put(lab, "veth-a", attach, &Prog::open_pinned(pin).expect("a program"));
        let (_, findings) = audited(lab, 1);
        let checks: Vec<&str> = findings.iter().filter_map(|f| f["check"].as_str()).collect();
        assert!(checks.starts_with(&["program", "tag", "map", "map", "map", "map", "translated"]));
        let found = findings[0]["found"].as_str().expect("found");
        assert!(found.contains("(foreign, tag "), "{found}");
    });
}

/// The very bytes, with another map of the same shape: the tag is right.
#[test]
fn a_map_swapped_in_the_program() {
    tampered("a_map_swapped_in_the_program", |lab, attach| {
        let program = SHIPPED.program().expect("assembles");
        for swapped in ["endpoints4", "stats"] {
            let number = program.maps().iter().position(|decl| decl.name == swapped);
            let number = number.expect("a map");
            let mut maps = maps(lab, "veth-a", &program);
            maps[number] = Map::create(&program.maps()[number]).expect("a map");
            let id = maps[number].info().id;
            let prog = Prog::load(SHIPPED, &maps.iter().collect::<Vec<_>>()).expect("loads");
            put(lab, "veth-a", attach, &prog);
            let (not_used, used) = (format!("{swapped}: "), format!("map {id}, "));
            let loads = program.lines().iter().filter(
                |line| matches!(line.insn, Insn::LoadMap { map, .. } if map.get() as usize == number),
            );
            let mut expected = vec![("map", not_used.as_str()), ("map", used.as_str())];
            expected.extend(loads.map(|_| ("translated", "instruction")));
            caught(lab, &expected);
        }
    });
}

/// What xhop writes would not reach the programs.
#[test]
fn a_pinned_map_swapped() {
    tampered("a_pinned_map_swapped", |lab, _| {
        let pin = segment().join("ports");
        let program = SHIPPED.program().expect("assembles");
        let decl = program.maps().iter().find(|decl| decl.name == "ports").expect("declared");
        fs::remove_file(&pin).expect("a pin");
        Map::create(decl).expect("a map").pin(&pin).expect("pinned");
        let (_, findings) = audited(lab, 1);
        let found: Vec<String> =
            findings.iter().map(|finding| finding["found"].to_string()).collect();
        for words in ["is pinned, but not used", "is used too"] {
            assert_eq!(found.iter().filter(|found| found.contains(words)).count(), 2, "{found:?}");
        }
        // Of another shape.
        fs::remove_file(&pin).expect("a pin");
        let other = MapDecl { max_entries: decl.max_entries + 1, ..decl.clone() };
        Map::create(&other).expect("a map").pin(&pin).expect("pinned");
        let (_, findings) = audited(lab, 1);
        assert!(findings.iter().any(|finding| {
            let means = finding["means"].as_str().unwrap_or_default();
            finding["check"] == "map" && means.contains("another kind, size or flags")
        }));
        fs::remove_file(&pin).expect("a pin");
        let (_, findings) = audited(lab, 1);
        assert!(findings.iter().any(|f| f["check"] == "pins"), "{findings:?}");
    });
}

#[test]
fn generic_instead_of_native() {
    lab("generic_instead_of_native", |lab| {
        lab.pair();
        lab.xhop(&["up", "a", "b", "--attach", "netlink"]).ok();
        let prog = Prog::open_pinned(&member(lab, "veth-a").join("forward")).expect("ours");
        rtnl(lab, HOST, |rtnl| {
            let index = rtnl.link("veth-a").expect("links").expect("the veth").ifindex;
            rtnl.set_xdp(index, None, XdpMode::Native, Some(&prog)).expect("taken off");
            rtnl.set_xdp(index, Some(&prog), XdpMode::Generic, None).expect("put on");
        });
        caught(lab, &[("attached", "veth-a in mode Generic")]);
    });
}

#[test]
fn nothing_in_its_place() {
    tampered("nothing_in_its_place", |lab, attach| {
        let pin = member(lab, "veth-b").join("forward");
        if attach == "link" {
            Link::open_pinned(&pin).expect("our link").detach().expect("detached");
        } else {
            lab.ok_in(HOST, &["ip", "link", "set", "veth-b", "xdp", "off"]);
        }
        caught(lab, &[("attached", "nothing runs on veth-b")]);
    });
}

/// By netlink what was attached by a link, or the other way round.
#[test]
fn another_way_of_attaching() {
    tampered("another_way_of_attaching", |lab, attach| {
        let pin = member(lab, "veth-a").join("forward");
        let index = index(lab, HOST, "veth-a");
        let _held = if attach == "link" {
            let link = Link::open_pinned(&pin).expect("our link");
            let prog = Prog::by_id(link.info().expect("info").prog_id).expect("ours");
            link.detach().expect("detached");
            rtnl(lab, HOST, |rtnl| {
                rtnl.set_xdp(index, Some(&prog), XdpMode::Native, None).expect("put on");
            });
            None
        } else {
            let prog = Prog::open_pinned(&pin).expect("ours");
            rtnl(lab, HOST, |rtnl| {
                rtnl.set_xdp(index, None, XdpMode::Native, Some(&prog)).expect("taken off");
            });
            let link = || Link::create_xdp(&prog, index, XdpMode::Native).expect("attached");
            Some(lab.in_netns(HOST, link))
        };
        caught(
            lab,
            &[("attached", if attach == "link" { "holds program" } else { "held by link" })],
        );
    });
}

#[test]
fn a_container_that_is_gone() {
    lab("a_container_that_is_gone", |lab| {
        let pair = lab.pair();
        lab.xhop(&["up", "a", "b"]).ok();
        lab.end(pair.b);
        caught(lab, &[("attached", "veth-b is gone")]);
        lab.xhop(&["down", "b"]).ok();
        clean(lab);
    });
}
