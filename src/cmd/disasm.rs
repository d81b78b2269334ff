//! `xhop disasm`: any bytes as instructions.

use xhop_asm::listing::Code;

use super::{input, put};
use crate::Result;

/// What is printed at once.
const CHUNK: usize = 1 << 16;

/// What to disassemble.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file; `-` is the standard input.
    file: String,
    #[command(flatten)]
    input: input::Choice,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let input = input::read(&args.file, &args.input)?;
    let mut text = String::new();
    for (at, piece) in input.pieces.iter().enumerate() {
        if let Some(section) = &piece.section {
            let before = if at == 0 { "" } else { "\n" };
            text += &format!("{before}; section {section}\n");
        }
        let code = Code { bytes: &piece.bytes, maps: &input.maps };
        for (slot, line) in code.lines() {
            for (_, name) in piece.functions.iter().filter(|(at, _)| *at == slot) {
                text += &format!("{name}:\n");
            }
            text += &line;
            text.push('\n');
            if text.len() > CHUNK {
                put(text.as_bytes());
                text.clear();
            }
        }
    }
    put(text.as_bytes());
    Ok(())
}
