//! A container whose root is hostile hurts nobody but itself: millions of malformed and forged packets out of it,
//! while two others transfer data.

mod generate;
mod lab;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use generate::Dice;
use lab::raw::Wire;
use lab::{Container, Lab, Where, assert_same, lab_by, thorough};
use xhop_vm::packet::{Extension, Host, arp, icmp, icmp6, sctp, tcp, tcp6, udp, udp6};

const PATIENCE: Duration = Duration::from_secs(30);

/// How many by each datapath. With `XHOP_THOROUGH=1`, as CI has it, ten million in all.
fn packets() -> u64 {
    if thorough() { 5_000_000 } else { 100_000 }
}

/// A container's addresses as they stand in packets.
fn host(lab: &Lab, container: &Container) -> Host {
    let link = lab.json(container.name.as_str(), &["ip", "-j", "link", "show", "dev", "eth0"]);
    let mac = link[0]["address"].as_str().expect("an Ethernet address").replace(':', "");
    let v6: std::net::Ipv6Addr = container.v6.parse().expect("an address");
    let v4: std::net::Ipv4Addr = container.v4.parse().expect("an address");
    let mac = hex::decode(mac).expect("hex").try_into().expect("six bytes");
    Host { mac, v4: v4.octets(), v6: v6.octets() }
}

/// Of all kinds, from the hostile one and in the others' names, to all and to nobody.
fn frames(own: Host, others: [Host; 2]) -> Vec<Vec<u8>> {
    let nobody = Host { mac: [2, 0, 0, 0, 0, 9], v4: [10, 9, 0, 99], v6: [0xfd; 16] };
    let group = Host { mac: [0xff; 6], v4: [255; 4], v6: [0xff; 16] };
    let mut frames = vec![arp()];
    for from in [own, others[0], others[1], nobody] {
        for to in [others[0], others[1], group, nobody] {
            for packet in [tcp(), tcp6(), udp(), udp6(), icmp(), icmp6(), sctp()] {
                let packet = packet.from(from).to(to);
                // In its own name, or with its own Ethernet address and another's IP.
                frames.push(packet.clone().bytes());
                let mut forged = packet.clone().bytes();
                forged[6..12].copy_from_slice(&own.mac);
                frames.push(forged);
                frames.push(packet.clone().vlan(5).bytes());
                frames.push(packet.clone().options([1; 8]).bytes());
                frames.push(packet.clone().extension(Extension::HopByHop).bytes());
                frames.push(packet.clone().fragment(8, true).bytes());
                frames.push(packet.payload_len(1200).bytes());
            }
        }
    }
    frames
}

/// One of them, or noise, with a few things changed.
fn spoilt<'f>(frames: &[Vec<u8>], dice: &mut Dice, frame: &'f mut Vec<u8>) -> &'f [u8] {
    frame.clear();
    if dice.one_in(50) {
        let len = 14 + dice.below(100);
        frame.extend(dice.bytes(len));
        return frame;
    }
    frame.extend_from_slice(&frames[dice.below(frames.len())]);
    for _ in 0..dice.below(3) {
        // Mostly in the headers; the Ethernet addresses stay for the most part, or few would be looked at.
        let at = 12 + dice.below(frame.len().min(60) - 12);
        match dice.below(4) {
            0 => frame[at] ^= 1 << dice.below(8),
            1 => frame[at] = dice.next() as u8,
            2 => frame.truncate(at.max(14)),
            _ => frame.swap(at, 12 + dice.below(2)),
        }
    }
    frame
}

/// Sends so many out of `eth0` of the calling thread's namespace; gives how many the kernel has taken.
fn flood(frames: &[Vec<u8>], count: u64) -> u64 {
    let wire = Wire::open("eth0").expect("a socket");
    let (mut dice, mut frame) = (Dice::new(count), Vec::new());
    let sent = (0..count).filter(|_| wire.send(spoilt(frames, &mut dice, &mut frame)).is_ok());
    sent.count() as u64
}

/// What the kernel complains of from now on.
fn complaints(lab: &Lab) -> Vec<String> {
    let bad =
        ["WARNING:", "BUG:", "Oops", "Call Trace:", "refcount", "UBSAN", "KASAN", "hung task"];
    let log = lab.ok_in(Where::Own, &["dmesg"]);
    let lines = log.lines().filter(|line| bad.iter().any(|word| line.contains(word)));
    lines.map(str::to_owned).collect()
}

#[test]
fn millions_of_malformed_packets() {
    for datapath in ["tc", "native"] {
        lab_by("millions_of_malformed_packets", &["dmesg"], datapath, |lab| {
            let pair = lab.pair();
            let c = pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
            let before = lab.everything();
            let heard = complaints(lab);
            lab.joins(&["a", "b", "c"]);
            for address in [&pair.b.v4, &pair.b.v6] {
                lab.pings("a", address);
            }
            let others = [host(lab, &pair.a), host(lab, &pair.b)];
            let frames = frames(host(lab, &c), others);
            let (stop, progress) = (AtomicBool::new(false), AtomicU64::new(0));
            let sent = thread::scope(|scope| {
                let stream = scope.spawn(|| lab.stream("a", "b", &pair.b.v4, &stop, &progress));
                let sent = lab.in_netns("c", || flood(&frames, packets()));
                let at = progress.load(Ordering::Relaxed);
                lab::wait_until(PATIENCE, "it flows", || progress.load(Ordering::Relaxed) > at);
                stop.store(true, Ordering::Relaxed);
                stream.join().expect("a thread").expect("comes whole");
                sent
            });
            // A few are too short or too long for the kernel.
            assert!(sent > packets() * 9 / 10, "{sent}");
            let verdicts = ["forwarded", "passed", "stale", "spoofed"];
            let [forwarded, passed, stale, spoofed] =
                verdicts.map(|verdict| lab.counted("netns:c", verdict));
            let seen = forwarded + passed + stale + spoofed;
            eprintln!(
                "{datapath}: {sent} sent: {forwarded} forwarded, {passed} passed, {spoofed} spoofed"
            );
            // Some are dropped before: those that fit no interface, or what is no packet to the stack.
            assert!(seen >= sent * 98 / 100, "{seen} of {sent}");
            assert!(spoofed > sent / 100 && forwarded > sent / 100 && stale == 0);
            // The others are as they were, and their packets still hop.
            for name in ["netns:a", "netns:b"] {
                assert_eq!(lab.state(name), "up");
            }
            lab.pings("a", &pair.b.v4);
            assert_eq!(complaints(lab), heard);
            lab.xhop(&["down", "--all"]).ok();
            assert_same(&before, &lab.everything());
        });
    }
}
