//! Three containers on a bridge, with `forward` on every host veth.

// Each test file uses its share.
#![allow(dead_code)]

use std::fmt;

use xhop_asm::Hook;
use xhop_asm::blocks::count::{VERDICTS, Verdict};
use xhop_asm::blocks::endpoint::value;
pub use xhop_asm::programs::Checksum;
use xhop_asm::programs::Shipped;
use xhop_vm::packet::{A, B, Host, Packet, host, tcp, tcp6, udp, udp6};
use xhop_vm::{Outcome, Vm};

/// A third container.
pub const C: Host = host(4);
/// One that is not joined.
pub const STRANGER: Host = host(9);

/// `A`'s host veth.
pub const A_VETH: u32 = 7;
/// `B`'s: who compares but 16 bits takes it for `A`'s.
pub const B_VETH: u32 = 0x1_0007;
/// `C`'s.
pub const C_VETH: u32 = 0x700;
/// Who is joined.
pub const JOINED: [(Host, u32); 3] = [(A, A_VETH), (B, B_VETH), (C, C_VETH)];

/// `forward` and its maps.
pub struct Bridge {
    pub vm: Vm,
}

/// What became of a frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Hop {
    /// As it was counted.
    pub verdict: Verdict,
    /// The host veth that it was redirected to.
    pub to: Option<u32>,
    /// As the program left it.
    pub frame: Vec<u8>,
}

impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} to {:?}: {}", self.verdict, self.to, shown(&self.frame))
    }
}

impl Bridge {
    /// `A`, `B` and `C` are joined.
    pub fn new(checksum: Checksum) -> Self {
        Self::of(Shipped::Forward(checksum))
    }

    /// With another program on every veth.
    pub fn of(shipped: Shipped) -> Self {
        let program = shipped.program().expect("assembles");
        let bridge = Self { vm: Vm::new(&program).expect("is loaded") };
        for (host, veth) in JOINED {
            bridge.join(host, veth);
        }
        bridge
    }

    /// One that completes checksums.
    pub fn complete() -> Self {
        Self::new(Checksum::Complete)
    }

    /// One of each kind.
    pub fn both() -> [Self; 2] {
        [Self::new(Checksum::Keep), Self::new(Checksum::Complete)]
    }

    /// Joins a container by both of its addresses.
    pub fn join(&self, host: Host, veth: u32) {
        let endpoint = value::encode(veth, host.mac);
        let insert = |map: &str, key: &[u8], value: &[u8]| {
            self.vm.map(map).expect("declared").insert(key, value).expect("fits");
        };
        insert("endpoints4", &host.v4, &endpoint);
        insert("endpoints6", &host.v6, &endpoint);
        insert("ports", &veth.to_ne_bytes(), &veth.to_ne_bytes());
    }

    /// Takes an entry out of a map.
    pub fn remove(&self, map: &str, key: &[u8]) {
        assert!(self.vm.map(map).expect("declared").remove(key).expect("a key"), "was there");
    }

    /// Packets and bytes by verdict.
    pub fn counters(&self) -> [(u64, u64); VERDICTS.len()] {
        VERDICTS.map(|verdict| {
            let stats = self.vm.map("stats").expect("declared");
            let value = stats.get((verdict as u32).to_ne_bytes()).expect("a key").expect("a slot");
            let number = |at: usize| u64::from_ne_bytes(value[at..at + 8].try_into().expect("8"));
            (number(0), number(8))
        })
    }

    /// Runs a frame that comes in by a veth, and checks that it is counted once, with all of its
    /// bytes, under a verdict that goes with the action.
    #[track_caller]
    pub fn send(&self, frame: &[u8], veth: u32) -> Hop {
        self.send_or(frame, veth, "XDP_PASS")
    }

    /// The same, where XDP does this with what is not forwarded.
    #[track_caller]
    pub fn send_or(&self, frame: &[u8], veth: u32, left: &str) -> Hop {
        let before = self.counters();
        let outcome = self.vm.run(frame, veth);
        let outcome = outcome.unwrap_or_else(|error| panic!("{error}: {}", shown(frame)));
        let after = self.counters();
        let mut counted = VERDICTS.into_iter().filter(|&v| before[v as usize] != after[v as usize]);
        let verdict = counted.next().expect("is counted");
        assert_eq!(counted.next(), None, "is counted once");
        let ((packets, bytes), after) = (before[verdict as usize], after[verdict as usize]);
        assert_eq!(after, (packets + 1, bytes + frame.len() as u64));
        let Outcome { redirect, packet, .. } = &outcome;
        let forwarded = verdict == Verdict::Forwarded;
        let action = match (outcome.hook, forwarded) {
            (Hook::Tc, true) => "TC_ACT_REDIRECT",
            (Hook::Tc, false) => "TC_ACT_UNSPEC",
            (Hook::Xdp | Hook::XdpFrags, true) => "XDP_REDIRECT",
            (Hook::Xdp | Hook::XdpFrags, false) => left,
        };
        assert_eq!((outcome.action(), redirect.is_some()), (action, forwarded));
        if outcome.hook == Hook::Tc {
            // PACKET_HOST or PACKET_OTHERHOST: what is left to the kernel is left as it came.
            assert_eq!(outcome.pkt_type, if forwarded { 0 } else { 3 });
        }
        Hop { verdict, to: *redirect, frame: packet.clone() }
    }

    /// What `B` gets of a frame that `A` sends.
    #[track_caller]
    pub fn forwards(&self, frame: &[u8]) -> Vec<u8> {
        let hop = self.send(frame, A_VETH);
        assert_eq!((hop.verdict, hop.to), (Verdict::Forwarded, Some(B_VETH)), "{}", shown(frame));
        hop.frame
    }

    /// Checks that `B` gets this of a frame that `A` sends.
    #[track_caller]
    pub fn delivers(&self, frame: &[u8], expected: &[u8]) {
        let got = self.forwards(frame);
        assert!(got == expected, "\n    got {}\nexpected {}", shown(&got), shown(expected));
    }

    /// Checks what becomes of a frame of `A`, and that no byte of it is changed.
    #[track_caller]
    pub fn keeps(&self, frame: &[u8], verdict: Verdict) {
        let to = (verdict == Verdict::Forwarded).then_some(B_VETH);
        let expected = Hop { verdict, to, frame: frame.to_vec() };
        assert_eq!(self.send(frame, A_VETH), expected);
    }

    /// Checks that a frame of `A` goes to the kernel as it came.
    #[track_caller]
    pub fn passes(&self, frame: &[u8]) {
        self.keeps(frame, Verdict::Passed);
    }
}

/// A frame's length and its headers, as hex.
fn shown(frame: &[u8]) -> String {
    let hex: String = frame.iter().take(96).map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes {hex}", frame.len())
}

/// A packet of each kind that has a checksum to complete.
pub fn kinds() -> [Packet; 4] {
    [tcp(), udp(), tcp6(), udp6()]
}

/// The frame with other bytes at an offset.
pub fn patched(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}
