//! Control flow: the blocks of a program, and how one leads to another.

use std::ops::Range;

use crate::insn::Insn;
use crate::program::Program;

/// Instructions of which either all run or none: control comes in at the first and leaves at the last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Its slots.
    pub slots: Range<usize>,
    /// Its places in [`Program::lines`].
    pub lines: Range<usize>,
    /// Where it leads; nowhere after `exit`.
    pub edges: Vec<Edge>,
}

/// A way from one block to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edge {
    /// The slot where it goes on. Outside the program only if the program is broken.
    pub to: i64,
    /// How it gets there.
    pub kind: EdgeKind,
}

/// What makes control take an [`Edge`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EdgeKind {
    /// `goto`
    Jump,
    /// A test that held.
    Taken,
    /// The next instruction: a test that did not hold, or a label in between.
    FallThrough,
}

/// The blocks of a program, in order: together they are all of it.
pub fn blocks(program: &Program) -> Vec<Block> {
    let starts = starts(program);
    let mut blocks: Vec<Block> = Vec::new();
    let mut slot = 0;
    for (index, line) in program.lines().iter().enumerate() {
        if starts.binary_search(&(slot as i64)).is_ok() {
            blocks.push(Block { slots: slot..slot, lines: index..index, edges: Vec::new() });
        }
        let next = slot + line.insn.slots();
        if let Some(block) = blocks.last_mut() {
            block.slots.end = next;
            block.lines.end = index + 1;
            block.edges = edges(slot, &line.insn);
        }
        slot = next;
    }
    blocks
}

/// The slots where blocks begin, in order: the first, all that are jumped to, all after a jump.
fn starts(program: &Program) -> Vec<i64> {
    let mut starts = vec![0];
    let mut slot = 0;
    for line in program.lines() {
        let edges = edges(slot, &line.insn);
        slot += line.insn.slots();
        if !matches!(edges[..], [Edge { kind: EdgeKind::FallThrough, .. }]) {
            starts.push(slot as i64);
            starts.extend(edges.iter().map(|edge| edge.to));
        }
    }
    crate::sort(&mut starts);
    starts.dedup();
    starts
}

/// The slot that an instruction in `slot` names: a jump's target, or a function. For broken programs it may
/// be outside them.
pub fn target(slot: usize, insn: &Insn) -> Option<i64> {
    let off = match insn {
        Insn::Jump { off } | Insn::Branch { off, .. } | Insn::MayGoto { off } => i64::from(*off),
        Insn::JumpLong { off } | Insn::CallLocal { off } | Insn::LoadFunc { off, .. } => {
            i64::from(*off)
        }
        _ => return None,
    };
    Some(slot as i64 + 1 + off)
}

/// Where control goes after the instruction in `slot`. A call comes back.
fn edges(slot: usize, insn: &Insn) -> Vec<Edge> {
    let fall = Edge { to: (slot + insn.slots()) as i64, kind: EdgeKind::FallThrough };
    match (insn, target(slot, insn)) {
        (Insn::Exit, _) => vec![],
        (Insn::Jump { .. } | Insn::JumpLong { .. }, Some(to)) => {
            vec![Edge { to, kind: EdgeKind::Jump }]
        }
        (Insn::Branch { .. } | Insn::MayGoto { .. }, Some(to)) => {
            vec![Edge { to, kind: EdgeKind::Taken }, fall]
        }
        _ => vec![fall],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::Shipped;
    use crate::{Assembler, R0, R1};

    #[test]
    fn a_diamond_with_a_wide_load() {
        let mut asm = Assembler::new("diamond");
        let (right, join) = (asm.label("right"), asm.label("join"));
        asm.load_imm64(R1, 7, "0 and 1");
        asm.jump_if(R1.eq(7), &right, "2");
        asm.mov(R0, 1, "3");
        asm.jump(&join, "4");
        asm.bind(right);
        asm.mov(R0, 2, "5");
        asm.bind(join);
        asm.exit("6");
        let blocks = blocks(&asm.finish().expect("assembles"));
        let edge = |to, kind| Edge { to, kind };
        let expected = [
            (0..3, 0..2, vec![edge(5, EdgeKind::Taken), edge(3, EdgeKind::FallThrough)]),
            (3..5, 2..4, vec![edge(6, EdgeKind::Jump)]),
            (5..6, 4..5, vec![edge(6, EdgeKind::FallThrough)]),
            (6..7, 5..6, vec![]),
        ];
        let expected = expected.map(|(slots, lines, edges)| Block { slots, lines, edges });
        assert_eq!(blocks, expected);
    }

    #[test]
    fn blocks_are_the_whole_program() {
        for shipped in Shipped::ALL {
            let program = shipped.program().expect("assembles");
            let blocks = blocks(&program);
            let (mut slot, mut line) = (0, 0);
            for block in &blocks {
                assert_eq!((block.slots.start, block.lines.start), (slot, line));
                (slot, line) = (block.slots.end, block.lines.end);
                for edge in &block.edges {
                    assert!(blocks.iter().any(|block| block.slots.start as i64 == edge.to));
                }
            }
            assert_eq!((slot, line), (program.slots(), program.lines().len()));
            for mark in program.marks() {
                assert!(blocks.iter().any(|block| block.slots.start == mark.slot), "{mark:?}");
            }
        }
    }
}
