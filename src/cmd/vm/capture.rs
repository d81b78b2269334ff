//! Captures as files.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use xhop_vm::pcap::{Frame, Header};

use crate::{Error, Result};

/// The longest capture that is taken: all of it is held in memory.
const MAX_BYTES: u64 = 1 << 30;

/// A whole file, or standard input.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than may be shows that there is more.
    let read = match path.as_os_str() == "-" {
        true => io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)),
    };
    match read.map_err(Error::io(path))? as u64 > MAX_BYTES {
        true => {
            let why = "longer than 1 GiB: `tcpdump -r FILE -c N -w OTHER` takes fewer packets";
            Err(Error::Capture { path: path.into(), why: why.into() })
        }
        false => Ok(bytes),
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
    done.map_err(Error::io(path))
}
