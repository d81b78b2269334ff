//! What trying a thing tells: yes, no, or that it could not be told.

use nix::errno::Errno;
use serde::Serialize;

use crate::{Error, Result};

/// An answer of the kernel to what was tried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "answer", content = "why", rename_all = "kebab-case")]
pub enum Answer {
    /// It was done.
    Yes,
    /// The kernel does not have it: how it said so.
    No(String),
    /// It may have it: what was in the way of trying.
    Unknown(String),
}

impl Answer {
    /// What came of trying.
    pub fn of<T>(tried: &Result<T>) -> Self {
        match tried {
            Ok(_) => Self::Yes,
            Err(error) if is_lacking(error) => Self::No(why(error)),
            Err(error) => Self::Unknown(why(error)),
        }
    }

    /// Yes, or no for this reason.
    pub fn yes_if(is_so: bool, otherwise: &str) -> Self {
        if is_so { Self::Yes } else { Self::No(otherwise.into()) }
    }

    /// Whether it was done.
    pub fn is_yes(&self) -> bool {
        *self == Self::Yes
    }

    /// That of something that needs all of these: one that is lacking decides it, then one that is not known.
    pub fn all(parts: &[&Self]) -> Self {
        let lacking = parts.iter().find(|part| matches!(part, Self::No(_)));
        let decides = lacking.or_else(|| parts.iter().find(|part| !part.is_yes()));
        decides.map_or(Self::Yes, |part| (*part).clone())
    }

    /// That of something that needs one of these.
    pub fn any(parts: &[&Self]) -> Self {
        let unknown = || parts.iter().find(|part| matches!(part, Self::Unknown(_)));
        let decides = parts.iter().find(|part| part.is_yes()).or_else(unknown);
        let decides = decides.or_else(|| parts.first());
        decides.map_or(Self::Yes, |part| (*part).clone())
    }
}

/// Whether the kernel says by this that it does not have something. All else may have passed next time, or for
/// somebody else: EPERM, ENOMEM, EBUSY.
fn is_lacking(error: &Error) -> bool {
    // ENOTSUPP, which has no name outside of the kernel.
    const ENOTSUPP: i32 = 524;
    match error {
        Error::Verifier { .. } | Error::Feature { .. } => true,
        _ => error.errno().is_some_and(|errno| {
            matches!(
                errno,
                Errno::EINVAL
                    | Errno::ENOSYS
                    | Errno::EOPNOTSUPP
                    | Errno::E2BIG
                    | Errno::ENOENT
                    | Errno::ENODEV
                    | Errno::ENOTTY
                    | Errno::ERANGE
            ) || errno as i32 == ENOTSUPP
        }),
    }
}

/// In one line.
pub fn why(error: &Error) -> String {
    let said = |errno: &Errno| format!("{} ({errno:?})", errno.desc());
    match error {
        Error::Verifier { errno, log, .. } => {
            // At the end of a log stand figures.
            let figures = |line: &&str| line.starts_with("processed ") || line.trim().is_empty();
            let line = log.lines().rev().find(|line| !figures(line)).unwrap_or("no log");
            format!("the verifier: {} ({errno:?})", line.trim())
        }
        Error::Netlink { call, message: Some(message), errno, .. } => {
            format!("{call}: {message} ({errno:?})")
        }
        Error::Netlink { call, errno, .. } | Error::Sys { call, errno, .. } => {
            format!("{call}: {}", said(errno))
        }
        Error::Io { path, source } => format!("{}: {source}", path.display()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: Errno) -> Result<()> {
        Err(Error::sys("BPF_PROG_LOAD", "peer")(errno))
    }

    #[test]
    fn no_is_not_could_not_tell() {
        assert_eq!(Answer::of(&Ok(1)), Answer::Yes);
        for errno in [Errno::EINVAL, Errno::ENOSYS, Errno::EOPNOTSUPP, Errno::E2BIG] {
            assert!(matches!(Answer::of(&refused(errno)), Answer::No(_)), "{errno}");
        }
        for errno in [Errno::EPERM, Errno::EACCES, Errno::ENOMEM, Errno::EAGAIN, Errno::EBUSY] {
            assert!(matches!(Answer::of(&refused(errno)), Answer::Unknown(_)), "{errno}");
        }
        let log = "0: R1=ctx()\ninvalid func unknown#155\nprocessed 1 insns\n\n".to_owned();
        let error = Error::Verifier { program: "peer".into(), errno: Errno::EACCES, log };
        let said = "the verifier: invalid func unknown#155 (EACCES)".to_owned();
        assert_eq!(Answer::of::<()>(&Err(error)), Answer::No(said));
    }

    #[test]
    fn of_several() {
        let (yes, no) = (Answer::Yes, Answer::No("n".into()));
        let unknown = Answer::Unknown("u".into());
        assert_eq!(Answer::all(&[&yes, &unknown, &no]), no);
        assert_eq!(Answer::all(&[&yes, &unknown]), unknown);
        assert_eq!(Answer::all(&[&yes, &yes]), yes);
        assert_eq!(Answer::any(&[&no, &unknown, &yes]), yes);
        assert_eq!(Answer::any(&[&no, &unknown]), unknown);
        assert_eq!(Answer::any(&[&no, &no]), no);
    }
}
