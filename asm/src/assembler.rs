//! The assembler: one method an instruction, each with its reason.
//!
//! ```
//! use xhop_asm::{Assembler, Pointer, R0, R1, R2, xdp::{self, xdp_md}};
//!
//! let mut asm = Assembler::new("pass_long");
//! let out = asm.label("out");
//! asm.load(R2, R1.u32(xdp_md::DATA), "r2 = packet");
//! asm.load(R1, R1.u32(xdp_md::DATA_END), "r1 = its end");
//! asm.add(R2, 100, "100 bytes into the packet");
//! asm.mov(R0, xdp::DROP, "short packets are dropped");
//! asm.jump_if(R2.gt(R1), &out, "shorter than that");
//! asm.mov(R0, xdp::PASS, "the kernel takes it");
//! asm.bind(out);
//! asm.exit("r0 is the verdict");
//! let program = asm.finish()?;
//! assert_eq!(program.slots(), 7);
//! # Ok::<(), xhop_asm::Error>(())
//! ```

use std::borrow::Cow;
use std::panic::Location;

use crate::error::Error;
use crate::helper::Helper;
use crate::hook::Hook;
use crate::insn::{AluOp, ByteOrder, Insn, Width};
use crate::label::{Bound, Label, Target};
use crate::map::{MapDecl, MapIndex};
use crate::program::{Line, Mark, Program};
use crate::reg::{Mem, Operand, Reg, Test};

/// Why an instruction is there: shown in listings and in the verifier's log.
pub type Why = Cow<'static, str>;

struct LabelState {
    name: &'static str,
    made: &'static Location<'static>,
    slot: Option<usize>,
    used: bool,
}

/// A jump whose distance is not yet known.
struct Fixup {
    line: usize,
    slot: usize,
    label: usize,
}

/// Collects instructions and turns them into a [`Program`].
pub struct Assembler {
    name: String,
    hook: Hook,
    lines: Vec<Line>,
    slot: usize,
    labels: Vec<LabelState>,
    fixups: Vec<Fixup>,
    maps: Vec<MapDecl>,
    /// The first thing that went wrong; told by `finish`.
    error: Option<Error>,
}

/// Two-operand instructions: 64 bits, and on the low 32.
macro_rules! alu {
    ($($name:ident $name32:ident $op:ident $sign:literal;)*) => {$(
        #[doc = concat!("`dst ", $sign, " src`, 64 bits.")]
        #[track_caller]
        pub fn $name(&mut self, dst: Reg, src: impl Into<Operand>, why: impl Into<Why>) {
            self.emit(Insn::Alu { width: Width::W64, op: AluOp::$op, dst, src: src.into() }, why);
        }
        #[doc = concat!("`dst ", $sign, " src`, on the low 32 bits; the upper half becomes zero.")]
        #[track_caller]
        pub fn $name32(&mut self, dst: Reg, src: impl Into<Operand>, why: impl Into<Why>) {
            self.emit(Insn::Alu { width: Width::W32, op: AluOp::$op, dst, src: src.into() }, why);
        }
    )*};
}

impl Assembler {
    /// Starts an XDP program; `name` is how listings and errors call it.
    pub fn new(name: impl Into<String>) -> Self {
        Self::on(Hook::Xdp, name)
    }

    /// Starts a program for this hook.
    pub fn on(hook: Hook, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            hook,
            lines: Vec::new(),
            slot: 0,
            labels: Vec::new(),
            fixups: Vec::new(),
            maps: Vec::new(),
            error: None,
        }
    }

    alu! {
        add add32 Add "+=";
        sub sub32 Sub "-=";
        mul mul32 Mul "*=";
        div div32 Div "/=";
        or or32 Or "|=";
        and and32 And "&=";
        lsh lsh32 Lsh "<<=";
        rsh rsh32 Rsh ">>=";
        modulo modulo32 Mod "%=";
        xor xor32 Xor "^=";
        mov mov32 Mov "=";
        arsh arsh32 Arsh "s>>=";
    }

    /// The low 16 bits of `dst`, from network to host order or back; the rest becomes zero.
    #[track_caller]
    pub fn be16(&mut self, dst: Reg, why: impl Into<Why>) {
        self.emit(Insn::Endian { order: ByteOrder::Big, bits: 16, dst }, why);
    }

    /// `dst = *mem`, zero-extended.
    #[track_caller]
    pub fn load(&mut self, dst: Reg, mem: Mem, why: impl Into<Why>) {
        self.emit(Insn::Load { dst, mem }, why);
    }

    /// `*mem = src`
    #[track_caller]
    pub fn store(&mut self, mem: Mem, src: impl Into<Operand>, why: impl Into<Why>) {
        self.emit(Insn::Store { mem, src: src.into() }, why);
    }

    /// `dst = imm`, all 64 bits.
    #[track_caller]
    pub fn load_imm64(&mut self, dst: Reg, imm: u64, why: impl Into<Why>) {
        self.emit(Insn::LoadImm64 { dst, imm }, why);
    }

    /// `dst = &map`
    #[track_caller]
    pub fn load_map(&mut self, dst: Reg, map: MapIndex, why: impl Into<Why>) {
        self.emit(Insn::LoadMap { dst, map }, why);
    }

    /// `goto target`
    #[track_caller]
    pub fn jump(&mut self, target: &impl Target, why: impl Into<Why>) {
        self.fix(target.id());
        self.emit(Insn::Jump { off: 0 }, why);
    }

    /// `if test goto target`
    #[track_caller]
    pub fn jump_if(&mut self, test: Test, target: &impl Target, why: impl Into<Why>) {
        self.fix(target.id());
        self.emit(Insn::Branch { width: Width::W64, test, off: 0 }, why);
    }

    /// `r0 = helper(r1, ...)`; `r1` to `r5` are void after it.
    #[track_caller]
    pub fn call(&mut self, helper: Helper, why: impl Into<Why>) {
        self.emit(Insn::Call { helper }, why);
    }

    /// Ends the program with `r0` as its verdict.
    #[track_caller]
    pub fn exit(&mut self, why: impl Into<Why>) {
        self.emit(Insn::Exit, why);
    }

    /// Makes a label without a place yet. Names are unique in a program.
    #[track_caller]
    pub fn label(&mut self, name: &'static str) -> Label {
        let made = Location::caller();
        if let Some(first) = self.labels.iter().find(|label| label.name == name) {
            let first = first.made;
            self.fail(Error::DuplicateLabel { label: name, at: made, first });
        }
        self.labels.push(LabelState { name, made, slot: None, used: false });
        Label(self.labels.len() - 1)
    }

    /// Puts the label before the next instruction.
    pub fn bind(&mut self, label: Label) -> Bound {
        if let Some(state) = self.labels.get_mut(label.0) {
            state.slot = Some(self.slot);
        }
        Bound(label.0)
    }

    /// Declares a map, or finds it if it is declared already.
    #[track_caller]
    pub fn map(&mut self, decl: MapDecl) -> MapIndex {
        let index = match self.maps.iter().position(|map| map.name == decl.name) {
            Some(index) => {
                if self.maps[index] != decl {
                    self.fail(Error::MapConflict { map: decl.name, at: Location::caller() });
                }
                index
            }
            None => {
                self.maps.push(decl);
                self.maps.len() - 1
            }
        };
        MapIndex(index as u32)
    }

    /// Appends one instruction.
    #[track_caller]
    pub fn emit(&mut self, insn: Insn, why: impl Into<Why>) {
        self.slot += insn.slots();
        self.lines.push(Line { insn, comment: why.into(), at: Location::caller() });
    }

    fn fix(&mut self, label: usize) {
        if let Some(state) = self.labels.get_mut(label) {
            state.used = true;
        }
        self.fixups.push(Fixup { line: self.lines.len(), slot: self.slot, label });
    }

    fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    /// Resolves the jumps. The first error is told, with the label and the line.
    pub fn finish(mut self) -> Result<Program, Error> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if let Some(label) = self.labels.iter().find(|label| !label.used) {
            return Err(Error::UnusedLabel { label: label.name, at: label.made });
        }
        for fixup in &self.fixups {
            let label = &self.labels[fixup.label];
            let at = self.lines[fixup.line].at;
            let target =
                label.slot.ok_or(Error::UnboundLabel { label: label.name, at: label.made })?;
            let distance = target as i64 - (fixup.slot as i64 + 1);
            let resolved = i16::try_from(distance).map_err(|_| Error::JumpOutOfRange {
                label: label.name,
                at,
                distance,
            })?;
            match &mut self.lines[fixup.line].insn {
                Insn::Jump { off } | Insn::Branch { off, .. } => *off = resolved,
                _ => {}
            }
        }
        let mut marks: Vec<Mark> = self
            .labels
            .iter()
            .filter_map(|label| Some(Mark { label: label.name, slot: label.slot? }))
            .collect();
        marks.sort_by_key(|mark| mark.slot);
        let Self { name, hook, .. } = self;
        Ok(Program { name, hook, lines: self.lines, marks, maps: self.maps })
    }
}
