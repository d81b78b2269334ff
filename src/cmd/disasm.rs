//! `xhop disasm`: any bytes as instructions.

use std::path::PathBuf;

use xhop_asm::listing::Code;

use super::rights::Rights;
use super::{input, put, unread};
use crate::Result;

/// What is printed at once.
const CHUNK: usize = 1 << 16;

/// What to disassemble.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file; `-` is the standard input.
    file: PathBuf,
    #[command(flatten)]
    input: input::Choice,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    Rights::READ.take()?;
    let input = input::read(&args.file, &args.input)?;
    let mut text = String::new();
    for (at, piece) in input.pieces.iter().enumerate() {
        if let Some(section) = &piece.section {
            let before = if at == 0 { "" } else { "\n" };
            text += &format!("{before}; section {section}\n");
        }
        let code = Code { bytes: &piece.bytes, maps: &input.maps };
        for line in code.lines() {
            for (_, name) in piece.functions.iter().filter(|(at, _)| *at == line.slot) {
                text += &format!("{name}:\n");
            }
            text += &format!("{line}\n");
            if text.len() > CHUNK {
                put(text.as_bytes());
                text.clear();
                if unread() {
                    return Ok(());
                }
            }
        }
    }
    put(text.as_bytes());
    Ok(())
}
