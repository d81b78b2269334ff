//! `audit`: clean after `up` in each way; and each way to tamper with our programs and their maps is
//! caught and named.

mod lab;

use std::fs;
use std::path::Path;

use lab::audit::{
    WAYS, Way, audited, caught, classifier, clean, index, load_raw, maps, member, rtnl, running,
    segment,
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
                let native = ["--datapath", "native", "--checksum", way];
                lab.xhop(&[&["up", "a", "b", "--attach", attach], &native[..]].concat()).ok();
                let text = clean(lab);
                for word in ["veth-a", "veth-b", "[ok] tag", "[ok] translated", "all is as listed"]
                {
                    assert!(text.contains(word), "{word}: {text}");
                }
                assert_eq!(text.matches("line information agrees").count(), 2, "{text}");
            }
        }
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.xhop(&["up", "c", "a", "--datapath", "native"]).ok();
        clean(lab);
        lab.xhop(&["down", "--all"]).ok();
        assert!(clean(lab).contains("no container is joined"));
    });
}

/// Traffic control, XDP on skbs, and a program in the container too.
#[test]
fn so_is_every_other_way() {
    lab("so_is_every_other_way", |lab| {
        lab.pair();
        let ways: [(&[&str], _, _); 4] = [
            (&["--datapath", "tc"], ["peer on veth-", "tcx ingress on", "tc ingress on"], 2),
            (
                &["--datapath", "tc", "--big-tcp"],
                ["peer on veth-", "tcx ingress on", "tc ingress on"],
                2,
            ),
            (
                &["--datapath", "generic"],
                ["forward+frags on veth-", "generic XDP on", "generic XDP on"],
                2,
            ),
            (
                &["--datapath", "native", "--checksum", "trust"],
                ["trust on eth0", "tcx ingress on eth0", "tc ingress on eth0"],
                4,
            ),
        ];
        for (number, attach) in ATTACHES.into_iter().enumerate() {
            for (way, [heading, link, netlink], programs) in ways {
                lab.xhop(&[&["up", "a", "b", "--attach", attach], way].concat()).ok();
                let text = clean(lab);
                for word in [heading, [link, netlink][number]] {
                    assert_eq!(text.matches(word).count(), 2, "{word}: {text}");
                }
                for word in ["[ok] tag", "[ok] translated", "line information agrees"] {
                    assert_eq!(text.matches(word).count(), programs, "{word}: {text}");
                }
                lab.xhop(&["down", "--all"]).ok();
            }
        }
    });
}

/// A pair that is joined, in native XDP and in traffic control and in each way to attach, then tampered with.
fn tampered(test: &str, tamper: impl Fn(&Lab, &Way) + Send + Sync) {
    for way in WAYS {
        lab(test, |lab| {
            lab.pair();
            way.join(lab);
            tamper(lab, &way);
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
    tampered("one_changed_instruction", |lab, way| {
        let program = way.program();
        let mut bytes = program.bytes(ByteOrder::NATIVE);
        // Spoofed packets are counted as any that pass.
        let (number, at) = place(&program, "verdict: spoofed");
        bytes[at + 4..at + 8].copy_from_slice(&1u32.to_ne_bytes());
        let maps = maps(lab, "veth-a", &program);
        way.put(lab, "veth-a", &load_raw(way.shipped, &bytes, &maps));
        let what = format!("instruction {} `{}", at / SLOT, program.lines()[number].insn);
        caught(lab, &[("tag", "not "), ("translated", &what)]);
        let (_, findings) = audited(lab, 1);
        let found = findings[1]["found"].as_str().expect("found");
        assert!(found.contains("verdict: spoofed") && found.contains("exits.rs"), "{found}");
    });
}

#[test]
fn a_jump_that_lands_elsewhere() {
    tampered("a_jump_that_lands_elsewhere", |lab, way| {
        let program = way.program();
        let mut bytes = program.bytes(ByteOrder::NATIVE);
        // Over the verdict to the action.
        let (_, at) = place(&program, "count it");
        let off = i16::from_ne_bytes([bytes[at + 2], bytes[at + 3]]) - 2;
        bytes[at + 2..at + 4].copy_from_slice(&off.to_ne_bytes());
        let maps = maps(lab, "veth-b", &program);
        way.put(lab, "veth-b", &load_raw(way.shipped, &bytes, &maps));
        let what = format!("instruction {} `goto", at / SLOT);
        caught(lab, &[("tag", "not "), ("translated", &what)]);
    });
}

#[test]
fn a_foreign_program() {
    tampered("a_foreign_program", |lab, way| {
        let pin = Path::new("/sys/fs/bpf/elsewhere");
        lab.pin_foreign(pin);
        let foreign = match way.is_tc() {
            true => classifier("foreign"),
            false => Prog::open_pinned(pin).expect("a program"),
        };
        way.put(lab, "veth-a", &foreign);
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
    tampered("a_map_swapped_in_the_program", |lab, way| {
        let program = way.program();
        for swapped in ["endpoints4", "stats"] {
            let number = program.maps().iter().position(|decl| decl.name == swapped);
            let number = number.expect("a map");
            let mut maps = maps(lab, "veth-a", &program);
            maps[number] = Map::create(&program.maps()[number]).expect("a map");
            let id = maps[number].info().id;
            let prog = Prog::load(way.shipped, &maps.iter().collect::<Vec<_>>()).expect("loads");
            way.put(lab, "veth-a", &prog);
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
    tampered("a_pinned_map_swapped", |lab, way| {
        let pin = segment().join("ports");
        let program = way.program();
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
fn another_mode_of_xdp() {
    for (datapath, was, is) in [
        ("native", XdpMode::Native, XdpMode::Generic),
        ("generic", XdpMode::Generic, XdpMode::Native),
    ] {
        lab("another_mode_of_xdp", |lab| {
            lab.pair();
            lab.xhop(&["up", "a", "b", "--datapath", datapath, "--attach", "netlink"]).ok();
            let prog = running(lab, "veth-a");
            let index = index(lab, HOST, "veth-a");
            rtnl(lab, HOST, |rtnl| {
                rtnl.set_xdp(index, None, was, Some(&prog)).expect("taken off");
                rtnl.set_xdp(index, Some(&prog), is, None).expect("put on");
            });
            caught(lab, &[("attached", &format!("veth-a in mode {is:?}"))]);
        });
    }
}

#[test]
fn nothing_in_its_place() {
    tampered("nothing_in_its_place", |lab, way| {
        let pin = member(lab, "veth-b").join("forward");
        if way.attach == "link" {
            Link::open_pinned(&pin).expect("our link").detach().expect("detached");
        } else if way.is_tc() {
            lab.ok_in(HOST, &["tc", "filter", "del", "dev", "veth-b", "ingress"]);
        } else {
            lab.ok_in(HOST, &["ip", "link", "set", "veth-b", "xdp", "off"]);
        }
        caught(lab, &[("attached", "nothing runs on veth-b")]);
    });
}

/// By netlink what was attached by a link, or the other way round.
#[test]
fn another_way_of_attaching() {
    tampered("another_way_of_attaching", |lab, way| {
        let pin = member(lab, "veth-a").join("forward");
        let index = index(lab, HOST, "veth-a");
        let prog = running(lab, "veth-a");
        if way.attach == "link" {
            Link::open_pinned(&pin).expect("our link").detach().expect("detached");
            rtnl(lab, HOST, |rtnl| {
                if way.is_tc() {
                    rtnl.add_clsact(index).expect("made");
                    rtnl.set_ingress(index, &prog, "xhop_peer", true).expect("put on");
                } else {
                    rtnl.set_xdp(index, Some(&prog), XdpMode::Native, None).expect("put on");
                }
            });
            return caught(lab, &[("attached", "holds program")]);
        }
        rtnl(lab, HOST, |rtnl| {
            let off = match way.is_tc() {
                true => rtnl.del_ingress(index),
                false => rtnl.set_xdp(index, None, XdpMode::Native, Some(&prog)),
            };
            off.expect("taken off");
        });
        let _held = way.link(lab, &prog, index);
        caught(lab, &[("attached", "held by link")]);
    });
}

/// The pin is as ever, and what it holds is where nobody looks.
#[test]
fn our_link_on_another_interface() {
    tampered("our_link_on_another_interface", |lab, way| {
        if way.attach != "link" {
            return;
        }
        let pin = member(lab, "veth-a").join("forward");
        let prog = running(lab, "veth-a");
        let add = ["ip", "link", "add", "more0", "type", "veth", "peer", "name", "more1"];
        lab.ok_in(HOST, &add);
        Link::open_pinned(&pin).expect("our link").detach().expect("detached");
        fs::remove_file(&pin).expect("our pin");
        way.link(lab, &prog, index(lab, HOST, "more0")).pin(&pin).expect("pinned");
        caught(lab, &[("attached", "nothing runs on veth-a"), ("elsewhere", " more0 of net:[")]);
    });
}

/// What runs is ours, what the pin holds is not: `down` would not take off what runs.
#[test]
fn a_pin_swapped() {
    tampered("a_pin_swapped", |lab, way| {
        let pin = member(lab, "veth-a").join("forward");
        let aside = Path::new("/sys/fs/bpf/aside");
        fs::rename(&pin, aside).expect("our pin");
        if way.attach == "netlink" {
            lab.pin_foreign(&pin);
            return caught(lab, &[("attached", "the pinned program is ")]);
        }
        let add = ["ip", "link", "add", "more0", "type", "veth", "peer", "name", "more1"];
        lab.ok_in(HOST, &add);
        let own: Vec<Map> =
            way.program().maps().iter().map(|decl| Map::create(decl).expect("a map")).collect();
        let other = Prog::load(way.shipped, &own.iter().collect::<Vec<_>>()).expect("loads");
        way.link(lab, &other, index(lab, HOST, "more0")).pin(&pin).expect("pinned");
        caught(lab, &[("attached", "the pinned link "), ("elsewhere", " more0 of net:[")]);
    });
}

/// Of a filter the pin may tell of another program; and its place is a part of it.
#[test]
fn a_filter_otherwise_than_ours() {
    lab("a_filter_otherwise_than_ours", |lab| {
        lab.pair();
        WAYS[3].join(lab);
        let index = index(lab, HOST, "veth-a");
        let set = |prog: &Prog| {
            rtnl(lab, HOST, |rtnl| rtnl.set_ingress(index, prog, "xhop_peer", true).expect("put"));
        };
        set(&classifier("foreign"));
        let (_, findings) = audited(lab, 1);
        let checks: Vec<&str> = findings.iter().filter_map(|f| f["check"].as_str()).collect();
        assert!(checks.starts_with(&["attached", "program", "tag", "map"]), "{findings:?}");
        set(&running(lab, "veth-a"));
        clean(lab);
        let pin = member(lab, "veth-a").join("forward");
        let pin = pin.to_str().expect("UTF-8");
        // Not every packet; its verdict does not count; first of all; in a chain that nobody walks.
        for (place, direct) in [
            ("pref 53248 protocol arp", "direct-action"),
            ("pref 53248 protocol all handle 1", ""),
            ("pref 1 protocol all handle 1", "direct-action"),
            ("pref 53248 protocol all chain 7 handle 1", "direct-action"),
        ] {
            rtnl(lab, HOST, |rtnl| rtnl.del_ingress(index).expect("taken off"));
            let add = ["tc", "filter", "add", "dev", "veth-a", "ingress"];
            let program = ["bpf", "object-pinned", pin];
            let words = place.split(' ').chain(program).chain(direct.split_whitespace());
            lab.ok_in(HOST, &add.into_iter().chain(words).collect::<Vec<_>>());
            caught(lab, &[("attached", "otherwise than xhop puts it")]);
            lab.ok_in(HOST, &["tc", "filter", "del", "dev", "veth-a", "ingress"]);
            lab.run_in(HOST, &["tc", "filter", "del", "dev", "veth-a", "ingress", "chain", "7"]);
            set(&running(lab, "veth-a"));
            clean(lab);
        }
    });
}

/// What tells a container that a checksum is right.
#[test]
fn trust_taken_off() {
    for attach in ATTACHES {
        lab("trust_taken_off", |lab| {
            lab.pair();
            let trust = ["--datapath", "native", "--checksum", "trust", "--attach", attach];
            lab.xhop(&[&["up", "a", "b"], &trust[..]].concat()).ok();
            clean(lab);
            match attach {
                "link" => {
                    let pin = member(lab, "veth-b").join("trust");
                    Link::open_pinned(&pin).expect("our link").detach().expect("detached");
                }
                _ => {
                    lab.ok_in("b", &["tc", "filter", "del", "dev", "eth0", "ingress"]);
                }
            }
            caught(lab, &[("attached", "nothing runs on eth0")]);
        });
    }
}

#[test]
fn a_container_that_is_gone() {
    lab("a_container_that_is_gone", |lab| {
        let pair = lab.pair();
        lab.xhop(&["up", "a", "b", "--datapath", "native"]).ok();
        lab.end(pair.b);
        caught(lab, &[("attached", "veth-b is gone")]);
        lab.xhop(&["down", "b"]).ok();
        clean(lab);
    });
}
