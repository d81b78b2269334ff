//! Captures: for as long as one is, the members' programs are those that tell of each packet.
//!
//! No record says so, and none has to: the program is held by the same pin, and the folder of the member's pins is
//! locked by the process that reads. When that ends without a word, `up` finds a program that tells nobody.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::fcntl::Flock;
use nix::time::ClockId;
use xhop_asm::blocks::capture::{self, SNAPLEN_MAX, record, tally};
use xhop_asm::blocks::count::{VERDICTS, Verdict};
use xhop_asm::programs::Shipped;

use super::carry;
use super::fact::Fact;
use super::ground::Ground;
use super::member::Member;
use super::pins::{self, MemberPins};
use super::way::Spot;
use crate::sys::bpf::{Map, Ring, possible_cpus};
use crate::sys::kernel;
use crate::{Error, Result};

/// The kernel that has `bpf_xdp_load_bytes`.
const XDP_LOAD_BYTES: (u32, u32) = (5, 18);

/// Members that are captured, until [`Capture::end`].
#[derive(Debug)]
pub struct Capture {
    members: Vec<Captured>,
    /// The host's ends of those who could not be, and are not tried again.
    tried: Vec<u32>,
    scratch: Map,
    ring: Ring,
    snaplen: u32,
}

/// One of them.
#[derive(Debug)]
struct Captured {
    member: Member,
    tally: Map,
    _lock: Flock<File>,
}

/// A packet that came by a member's program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// What became of it.
    pub verdict: Verdict,
    /// The index of the host's end that it came in by.
    pub ifindex: u32,
    /// Bytes of the frame.
    pub length: u32,
    /// Its first bytes, as they left the program.
    pub data: Vec<u8>,
}

/// How many packets came by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// All of them.
    pub seen: u64,
    /// Those that found no room in a ring.
    pub lost: u64,
}

impl AsFd for Capture {
    /// Readable when there is something to take.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl Capture {
    /// Begins, with at most `snaplen` bytes of each packet. All members are captured or none. Errors: one that is
    /// captured already, or is not up.
    pub fn begin(members: Vec<Member>, snaplen: u32, ground: Ground) -> Result<Self> {
        let scratch = Map::create(&capture::scratch())?;
        let ring = Ring::open(Map::create(&capture::ring())?)?;
        let snaplen = snaplen.clamp(1, SNAPLEN_MAX);
        let mut capture = Self { members: Vec::new(), tried: Vec::new(), scratch, ring, snaplen };
        for member in members {
            if let Err(error) = capture.add(member, ground) {
                // What is left then, `up` puts right.
                let _ = capture.end(ground);
                return Err(error);
            }
        }
        Ok(capture)
    }

    /// Captures one more; in the place of one that was captured, if it is the same that was joined anew. Errors: it
    /// is captured by another process, or is not up.
    pub fn add(&mut self, member: Member, ground: Ground) -> Result<()> {
        let ifindex = member.host.ifindex;
        self.members.retain(|known| known.member.host != member.host);
        let told = hold(member, self.snaplen, ground).and_then(|captured| {
            let told = self.tell(&captured, ground);
            // Also if it could not be: what was begun is to be ended.
            self.members.push(captured);
            told
        });
        told.inspect_err(|_| self.tried.push(ifindex))
    }

    /// Who is captured, or was.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().map(|captured| &captured.member)
    }

    /// The host's ends of those who could not be captured.
    pub fn tried(&self) -> impl Iterator<Item = u32> {
        self.tried.iter().copied()
    }

    /// Lets the member's program tell.
    fn tell(&self, Captured { member, tally, .. }: &Captured, ground: Ground) -> Result<()> {
        let pins = MemberPins::of(&member.segment, &member.host);
        pins.remove_capture()?;
        for ((_, pin), map) in pins.capture().iter().zip([tally, &self.scratch, self.ring.map()]) {
            map.pin(pin)?;
        }
        let (program, ..) = member.on_host();
        put(member, program.captured().unwrap_or(program), ground)
    }

    /// Puts the programs back that tell nothing. Who was taken out meanwhile, or joined anew, stays as he is.
    pub fn end(&self, ground: Ground) -> Result<()> {
        let mut done = Ok(());
        for member in self.still(ground) {
            let (program, ..) = member.on_host();
            // One that can't be put back keeps no other.
            done = done.and(put(member, program, ground));
        }
        done
    }

    /// Who is captured still, wherever the host's end is by now.
    pub fn still(&self, ground: Ground) -> Vec<&Member> {
        let is_ours = |Captured { member, tally, .. }: &&Captured| {
            let pins = MemberPins::of(&member.segment, &member.host);
            let found = pins::open_map(&pins.map(&capture::tally()), &capture::tally());
            let (_, spot) = member.on_host();
            let held = || ground.held(&member.host, spot, member.attach, &pins.forward());
            found.is_ok_and(|found| found.info().id == tally.info().id)
                && ground.alive(member).unwrap_or(false)
                && held().is_ok_and(|held| held.is_some())
        };
        self.members.iter().filter(is_ours).map(|captured| &captured.member).collect()
    }

    /// The most bytes of a packet that are captured.
    pub fn snaplen(&self) -> u32 {
        self.snaplen
    }

    /// Takes what is there, in its order.
    pub fn take(&mut self) -> Result<Vec<Packet>> {
        let mut packets = Vec::new();
        // From the programs' clock to that of the day, which may have been set.
        let since = clock(ClockId::CLOCK_REALTIME)?.wrapping_sub(clock(ClockId::CLOCK_MONOTONIC)?);
        self.ring.drain(&mut |record| packets.extend(read(record, since)));
        Ok(packets)
    }

    /// What has come by of each until now.
    pub fn tallies(&self) -> Result<Vec<(&Member, Tally)>> {
        let mut tallies = Vec::new();
        for Captured { member, tally, .. } in &self.members {
            let [seen, lost] = tally.sums(&[0; 4], [tally::SEEN, tally::LOST])?;
            tallies.push((member, Tally { seen, lost }));
        }
        Ok(tallies)
    }
}

/// Keeps others from capturing the member, who must be up.
fn hold(member: Member, snaplen: u32, ground: Ground) -> Result<Captured> {
    let pins = MemberPins::of(&member.segment, &member.host);
    let (_, spot) = member.on_host();
    if spot != Spot::Ingress && kernel::release()? < XDP_LOAD_BYTES {
        return Err(Error::NoCapture { name: member.name });
    }
    if ground.held(&member.host, spot, member.attach, &pins.forward())?.is_none() {
        return Err(Error::NotUp { name: member.name });
    }
    let Some(lock) = pins.lock()? else {
        return Err(Error::CapturedAlready { name: member.name });
    };
    let tally = Map::create(&capture::tally())?;
    write_snaplen(&tally, snaplen)?;
    Ok(Captured { member, tally, _lock: lock })
}

/// Puts a program in the place of the one that is there, with no packet in between.
fn put(member: &Member, program: Shipped, ground: Ground) -> Result<()> {
    let (_, spot) = member.on_host();
    let fact = Fact::Forward {
        segment: member.segment.clone(),
        at: member.host.clone(),
        program,
        spot,
        attach: member.attach,
    };
    carry::make(&fact, ground).map(drop)
}

fn write_snaplen(map: &Map, snaplen: u32) -> Result<()> {
    let mut value = [0; tally::SIZE];
    let field = value.iter_mut().skip(tally::SNAPLEN as usize);
    field.zip(u64::from(snaplen).to_ne_bytes()).for_each(|(to, byte)| *to = byte);
    map.update(&[0; 4], &value.repeat(possible_cpus()?))
}

/// What a program of ours has told; `None` if that can't be.
fn read(mut data: Vec<u8>, since: u64) -> Option<Packet> {
    let bytes = |at: i16| data.get(at as usize..);
    let word = |at| Some(u32::from_ne_bytes(*bytes(at)?.first_chunk()?));
    let time = u64::from_ne_bytes(*bytes(record::TIME)?.first_chunk()?).wrapping_add(since);
    let (verdict, length) = (word(record::VERDICT)?, word(record::BYTES)?);
    let ifindex = word(record::IFINDEX)?;
    let verdict = VERDICTS.into_iter().find(|known| *known as u32 == verdict)?;
    data.drain(..record::PACKET as usize);
    Some(Packet { time, verdict, ifindex, length, data })
}

/// Nanoseconds.
fn clock(clock: ClockId) -> Result<u64> {
    let now = clock.now().map_err(Error::sys("clock_gettime", "this process"))?;
    Ok(Duration::from(now).as_nanos() as u64)
}
