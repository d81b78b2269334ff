//! Files that others write.

use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// What is in a file of at most `most` bytes.
///
/// # Errors
/// Also for a symlink, which could lead anywhere, and for what is no plain file, which may never end.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(malformed("it is no plain file"));
    }
    let mut bytes = Vec::new();
    match file.take(most + 1).read_to_end(&mut bytes)? as u64 > most {
        true => Err(malformed("it is too large")),
        false => Ok(bytes),
    }
}

/// What is wrong with a file that holds something else than it should.
pub fn malformed(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, why.escape_debug().to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_plain_files_and_not_too_much() {
        let dir = std::env::temp_dir().join(format!("xhop-file-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("temporary directory");
        let [plain, link, gone] = ["plain", "link", "gone"].map(|name| dir.join(name));
        std::fs::write(&plain, "four").expect("a file");
        symlink(&plain, &link).expect("a symlink");
        let fifo = dir.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        assert_eq!(read(&plain, 4).expect("four bytes"), b"four");
        assert_eq!(read(&gone, 4).expect_err("nothing").kind(), ErrorKind::NotFound);
        for (path, most) in [(&plain, 3), (&link, 4), (&dir, 4), (&fifo, 4)] {
            let error =
                crate::Error::io(path)(read(path, most).expect_err("no such file")).to_string();
            assert!(error.starts_with(&path.display().to_string()), "{error}");
            assert!(error.contains(": check that"), "{error}");
        }
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
