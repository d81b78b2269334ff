//! The VM: a program with its maps, to be run on packets.

use std::fmt::Debug;
use std::rc::Rc;

use xhop_asm::{AluOp, ByteOrder, Helper, Hook, Insn, Program, Width, tc, xdp};

use crate::buffer::MAX_PACKET;
use crate::error::{Error, Place};
use crate::helpers::{self, Entered, Function};
use crate::map::Map;
use crate::memory;
use crate::state::State;
use crate::verifier;

/// A program and its maps. Maps keep their entries from run to run.
///
/// The headroom before the packet can't be accessed, unlike in the kernel, where `data_meta`
/// opens it.
pub struct Vm {
    program: Program,
    /// The canonical bytes: what is listed, hashed and given to the kernel.
    bytes: Vec<u8>,
    calls: Vec<(Helper, Function)>,
    state: Rc<State>,
}

/// What a run gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Where it ran.
    pub hook: Hook,
    /// The low 32 bits of `r0`, all that the kernel looks at: an `XDP_*` or `TC_ACT_*` action.
    pub verdict: u64,
    /// The packet as the program left it.
    pub packet: Vec<u8>,
    /// Where the packet goes, if the verdict is to redirect it and the helper that was asked knows an
    /// interface: with XDP out of it, with tc into the other end of it.
    pub redirect: Option<u32>,
    /// What is said of whom the packet is for (`PACKET_*`); with tc it comes as another's.
    pub pkt_type: u32,
    /// How many of its checksums are said to be right (`bpf_csum_level`).
    pub csum_level: u32,
    /// Its mark and its priority; an `xdp_md` has none.
    pub notes: [u32; 2],
    /// Each record that it told whoever reads its ring.
    pub told: Vec<Vec<u8>>,
}

impl Outcome {
    /// The verdict's name in the kernel. Unknown ones are dropped by it (`xdp_warn_action`).
    pub fn action(&self) -> &'static str {
        self.hook.action(self.verdict as u32 as i32).unwrap_or("unknown")
    }
}

impl Vm {
    /// Makes empty maps and checks that all can be run. Errors: a helper that is not emulated, a
    /// map that is not declared, an instruction that `rbpf` computes wrong, what `rbpf` or our own
    /// rules refuse, no memory.
    pub fn new(program: &Program) -> Result<Self, Error> {
        let vm = Self::unlinted(program)?;
        verifier::verify(&mut vm.load()?, program)?;
        Ok(vm)
    }

    /// Like [`Vm::new`], but our own rules are not asked: for programs that shall go wrong.
    pub fn unlinted(program: &Program) -> Result<Self, Error> {
        let calls = check_lines(program)?;
        let grows = calls.iter().any(|(helper, _)| *helper == Helper::XDP_ADJUST_TAIL);
        let vm = Self {
            program: program.clone(),
            bytes: program.bytes(ByteOrder::Little),
            calls,
            state: Rc::new(State::new(program, grows).map_err(Error::Memory)?),
        };
        vm.load()?;
        Ok(vm)
    }

    /// The map of this name.
    pub fn map(&self, name: &str) -> Result<&Map, Error> {
        self.maps().iter().find(|map| map.decl().name == name).ok_or_else(|| Error::NoMap {
            map: name.to_owned(),
            maps: self.maps().iter().map(|map| map.decl().name).collect(),
        })
    }

    /// All maps: a [`MapIndex`](xhop_asm::MapIndex) of the program is a place in this list.
    pub fn maps(&self) -> &[Map] {
        &self.state.maps
    }

    /// Runs the program on a packet that came in by `ingress_ifindex`.
    ///
    /// Errors: an access outside the context, the packet, the stack and the first 64 bytes of maps' values; a
    /// helper that is given what it can't work on; a write to the context where it is read-only, or over the end of a
    /// value. Nothing bounds the run: a program that loops for ever does not return.
    ///
    /// The context's pointers are true, and `data_end` is the end of accessible memory. Only in a
    /// packet that `bpf_xdp_adjust_tail` made longer than it came can an access that straddles
    /// the end not be told as an error: it ends the process at the guard page.
    /// In a debug build an access whose address wraps round, one byte before NULL, ends it too.
    pub fn run(&self, packet: impl AsRef<[u8]>, ingress_ifindex: u32) -> Result<Outcome, Error> {
        self.start(packet.as_ref(), ingress_ifindex)?;
        let state = &self.state;
        let mut rbpf = self.load()?;
        for bytes in state.maps.iter().flat_map(Map::direct).chain(state.packet.growth()) {
            rbpf.register_allowed_memory(&bytes.collect::<Vec<_>>());
        }
        // Two memories are checked to the byte by `rbpf`: the context and the packet as it comes.
        let (mem, ctx) = (state.packet.cells(), state.ctx());
        let entered = Entered::new(state);
        let result = rbpf.execute_program(memory::for_rbpf(mem), memory::for_rbpf(ctx));
        drop(entered);
        self.check_helpers()?;
        let r0 = result.map_err(|error| self.insn_error(&text(&error)))?;
        self.check_writes()?;
        Ok(self.outcome(r0))
    }

    /// Whether packets have a VLAN tag beside them from now on, as an skb can; an `xdp_md` does not tell.
    pub fn set_vlan(&self, tagged: bool) {
        self.state.vlan.set(tagged);
    }

    /// The mark and the priority that packets come with from now on; an `xdp_md` has none.
    pub fn set_notes(&self, mark: u32, priority: u32) {
        self.state.notes.set([mark, priority]);
    }

    /// Makes ready for a run.
    pub(crate) fn start(&self, packet: &[u8], ingress_ifindex: u32) -> Result<(), Error> {
        if packet.len() > MAX_PACKET {
            return Err(Error::PacketTooLong { len: packet.len(), max: MAX_PACKET });
        }
        self.state.start(packet, ingress_ifindex);
        Ok(())
    }

    /// What a run has left that ended with `r0`.
    pub(crate) fn outcome(&self, r0: u64) -> Outcome {
        let (state, verdict) = (&self.state, r0 & u64::from(u32::MAX));
        let hook = self.program.hook();
        let redirects = if hook == Hook::Tc { tc::REDIRECT } else { xdp::REDIRECT };
        let redirect = state.redirect.get().filter(|_| verdict == redirects as u64);
        Outcome {
            hook,
            verdict,
            packet: memory::copy(state.packet.cells()),
            redirect,
            pkt_type: state.pkt_type.get(),
            csum_level: state.csum_level.get(),
            notes: state.left_notes(),
            told: state.told.borrow().clone(),
        }
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn state(&self) -> &Rc<State> {
        &self.state
    }

    /// The program in `rbpf`, checked by it, with its helpers.
    fn load(&self) -> Result<rbpf::EbpfVmMbuff<'_>, Error> {
        let refused = |error: rbpf::lib::Error| Error::Refused {
            program: self.program.name().to_owned(),
            reason: text(&error),
        };
        let mut rbpf = rbpf::EbpfVmMbuff::new(Some(&self.bytes)).map_err(refused)?;
        for (helper, function) in &self.calls {
            rbpf.register_helper(helper.number() as u32, *function).map_err(refused)?;
        }
        Ok(rbpf)
    }

    fn check_helpers(&self) -> Result<(), Error> {
        match self.state.fault.take() {
            None => Ok(()),
            Some((helper, what)) => Err(Error::call(&self.program, helper, what)),
        }
    }

    /// What `rbpf` lets through and the kernel does not.
    fn check_writes(&self) -> Result<(), Error> {
        let program = self.program.name().to_owned();
        if self.state.ctx_written() {
            return Err(Error::CtxWritten { program });
        }
        let mut maps = self.maps().iter();
        match maps.find_map(|map| Some((map.decl().name, map.overrun()?))) {
            Some((map, key)) => Err(Error::ValueOverrun { program, map, key }),
            None => Ok(()),
        }
    }

    /// Says in the program's terms what `rbpf` says in numbers of its own.
    fn insn_error(&self, said: &str) -> Error {
        // `rbpf` counts from one here: it tells the slot after the access.
        let slot = number_after(said, "insn #", 10).and_then(|slot| slot.checked_sub(1));
        let place = slot.and_then(|slot| Place::of(&self.program, slot as usize));
        let addr = number_after(said, "addr 0x", 16);
        let size = number_after(said, "size ", 10);
        let what = match (addr, size) {
            (Some(addr), Some(size)) => self.state.describe(addr, size),
            _ => said.to_owned(),
        };
        Error::Insn { program: self.program.name().to_owned(), place, what }
    }
}

/// Finds what the program calls; errors where it names a helper or a map that is not there, or
/// computes what `rbpf` can't.
fn check_lines(program: &Program) -> Result<Vec<(Helper, Function)>, Error> {
    let (mut calls, mut slot) = (Vec::new(), 0);
    for line in program.lines() {
        let place = || Place::new(slot, line);
        match line.insn {
            Insn::Call { helper } => {
                let function = helpers::emulation(helper)
                    .ok_or_else(|| Error::Helper { helper, place: place() })?;
                calls.push((helper, function));
            }
            Insn::LoadMap { map, .. } if map.get() as usize >= program.maps().len() => {
                let (index, maps) = (map.get(), program.maps().len());
                return Err(Error::MapIndex { index, maps, place: place() });
            }
            // Wrong in 0.3.0: they keep the sign, where the kernel makes the upper half zero.
            Insn::Alu { width: Width::W32, op: AluOp::Add | AluOp::Sub | AluOp::Mul, .. } => {
                return Err(Error::Alu32 { place: place() });
            }
            // It does not look at the field that makes it signed.
            Insn::Alu { op: AluOp::Sdiv | AluOp::Smod, .. } => {
                return Err(Error::Isa { place: place() });
            }
            Insn::Alu { .. }
            | Insn::Neg { .. }
            | Insn::Endian { .. }
            | Insn::Load { .. }
            | Insn::Store { .. }
            | Insn::LoadImm64 { .. }
            | Insn::LoadMap { .. }
            | Insn::Jump { .. }
            | Insn::Branch { .. }
            | Insn::Exit => {}
            _ => return Err(Error::Isa { place: place() }),
        }
        slot += line.insn.slots();
    }
    Ok(calls)
}

/// The text of an error of `rbpf`, which without `std` only `Debug` shows, in quotes.
fn text(error: &impl Debug) -> String {
    let shown = format!("{error:?}");
    shown.split('"').nth(1).unwrap_or(&shown).to_owned()
}

/// The number that follows `mark` in a text.
fn number_after(text: &str, mark: &str, radix: u32) -> Option<u64> {
    let rest = text.split_once(mark)?.1;
    let digits = rest.split(|c: char| !c.is_digit(radix)).next()?;
    u64::from_str_radix(digits, radix).ok()
}
