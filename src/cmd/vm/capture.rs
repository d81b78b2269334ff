//! Captures as files.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use xhop_vm::pcap::{Frame, Header};

use crate::cmd::input::{contents, named};
use crate::{Error, Result};

/// The longest capture that is taken: all of it is held in memory.
const MAX_BYTES: u64 = 1 << 30;

/// A whole file, or standard input.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    contents(path, MAX_BYTES)?.ok_or_else(|| {
        let why = "longer than 1 GiB: `tcpdump -r FILE -c N -w OTHER` takes fewer packets";
        unfit(path, why)
    })
}

/// What is wrong with a capture that is read.
pub fn unfit(path: &Path, why: impl ToString) -> Error {
    Error::Capture { path: named(path, "standard input").into(), why: why.to_string() }
}

/// Refuses early to write where it would do harm: over the capture itself, or to a terminal.
pub fn check_out(path: &Path, capture: &Path) -> Result<()> {
    if path.as_os_str() == "-" {
        return match io::stdout().is_terminal() {
            true => Err(Error::Terminal { format: "pcap" }),
            false => Ok(()),
        };
    }
    let file = |path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    match file(path) {
        Some(out) if file(capture) == Some(out) => Err(Error::Capture {
            path: path.into(),
            why: "is the capture itself: name another file for what comes out".into(),
        }),
        _ => Ok(()),
    }
}

/// Writes frames with the bytes that they were left with.
pub fn write_file(path: &Path, header: &Header, left: &[(Frame, Vec<u8>)]) -> Result<()> {
    let write = |out: &mut dyn Write| {
        let mut out = BufWriter::new(out);
        header.write(&mut out)?;
        for (frame, data) in left {
            let grown = data.len() as i64 - frame.data.len() as i64;
            let original_len = i64::from(frame.original_len).saturating_add(grown);
            let original_len = u32::try_from(original_len).unwrap_or_default();
            header.write_frame(&Frame { original_len, data, ..*frame }, &mut out)?;
        }
        out.flush()
    };
    let done = match path.as_os_str() == "-" {
        true => write(&mut io::stdout().lock()),
        false => File::create(path).and_then(|mut file| write(&mut file)),
    };
    done.map_err(Error::io(named(path, "standard output")))
}
