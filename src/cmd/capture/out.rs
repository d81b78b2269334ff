//! Where a capture is written: a file or a pipe, whose reader may be slow, or gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{Error, Result};

/// A pipe that can be written to takes so many bytes without a wait (PIPE_BUF, pipe(7)).
const AT_ONCE: usize = 4096;

/// Opened, and as it was before.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    file: File,
    /// Whether it was made for this.
    new: bool,
}

impl Opened {
    /// A named file, or standard output. Nobody else is to read what others have sent.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            if path.is_some() && io::stdout().is_terminal() {
                return Err(Error::Terminal { format: "pcapng" });
            }
            let path = PathBuf::from("standard output");
            let file = io::stdout().as_fd().try_clone_to_owned().map_err(Error::io(&path))?;
            return Ok(Self { path, file: file.into(), new: false });
        };
        let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let (file, new) = match new {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                (OpenOptions::new().write(true).open(path), false)
            }
            new => (new, true),
        };
        Ok(Self { path: path.into(), file: file.map_err(Error::io(path))?, new })
    }

    /// It is not needed: it is as it was.
    pub fn leave(self) {
        if self.new {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// To be written from its beginning, as long as `ended` is not readable or somebody takes it.
    pub fn begin(self, ended: OwnedFd) -> (PathBuf, BufWriter<Out>) {
        // A pipe has no length.
        let _ = self.file.set_len(0);
        (self.path, BufWriter::new(Out { file: self.file, ended, unread: false }))
    }
}

/// What is written to.
#[derive(Debug)]
pub struct Out {
    file: File,
    /// Readable when it is to end.
    ended: OwnedFd,
    /// Whether nobody reads any more. He has seen enough, and that is no error.
    pub unread: bool,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (out, ended) = (self.file.as_fd(), self.ended.as_fd());
        let mut fds = [PollFd::new(out, PollFlags::POLLOUT), PollFd::new(ended, PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Err(ErrorKind::Interrupted.into()),
            Err(errno) => return Err(errno.into()),
        }
        // Whoever does not read keeps nobody from ending.
        self.unread |= !fds[0].any().unwrap_or(true);
        if self.unread {
            return Ok(bytes.len());
        }
        match self.file.write(bytes.get(..AT_ONCE).unwrap_or(bytes)) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.unread = true;
                Ok(bytes.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
