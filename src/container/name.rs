//! How a user names a container.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A container's name, as given on the command line.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Name {
    /// `netns:NAME`: a namespace of `ip netns`.
    Netns(String),
    /// `pid:N`: the namespace of a process.
    Pid(u32),
    /// `docker:NAME`: a container of the Docker engine, by name or id.
    Docker(String),
    /// `podman:NAME`: a container of podman, by name or id.
    Podman(String),
    /// `nspawn:NAME`: a machine of systemd-nspawn.
    Nspawn(String),
    /// `lxc:NAME`: a container of LXC.
    Lxc(String),
    /// `veth:IFNAME`: the container at the other end of this host-side interface.
    Veth(String),
    /// Just a name: whichever of the above there is.
    Bare(String),
}

impl FromStr for Name {
    type Err = Error;

    /// Checks the form only. Names become parts of paths and requests: a slash, a dot alone or a
    /// control character is refused here, once for all.
    fn from_str(text: &str) -> Result<Self> {
        let bad = |why| Error::BadName { name: text.escape_debug().to_string(), why };
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) => (Some(kind), name),
            None => (None, text),
        };
        if name.is_empty() {
            return Err(bad("it is empty"));
        }
        let plain = |c: char| c.is_ascii_graphic() && c != '/' && c != '?' && c != '%';
        if !name.chars().all(plain) || name == "." || name == ".." || name.len() > 255 {
            return Err(bad("it must be 1 to 255 letters, digits and signs, without / ? %"));
        }
        let make = match kind {
            None => Self::Bare,
            Some("netns") => Self::Netns,
            Some("docker") => Self::Docker,
            Some("podman") => Self::Podman,
            Some("nspawn") => Self::Nspawn,
            Some("lxc") => Self::Lxc,
            Some("veth") => Self::Veth,
            Some("pid") => {
                return name.parse().map(Self::Pid).map_err(|_| bad("a process has a number"));
            }
            Some(_) => {
                return Err(bad(
                    "the kinds are netns:, pid:, docker:, podman:, nspawn:, lxc: and veth:",
                ));
            }
        };
        Ok(make(name.into()))
    }
}

impl Name {
    /// Without its kind; of a process nothing.
    pub fn text(&self) -> &str {
        match self {
            Self::Netns(text)
            | Self::Docker(text)
            | Self::Podman(text)
            | Self::Nspawn(text)
            | Self::Lxc(text)
            | Self::Veth(text)
            | Self::Bare(text) => text,
            Self::Pid(_) => "",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Netns(_) => "netns:",
            Self::Pid(pid) => return write!(f, "pid:{pid}"),
            Self::Docker(_) => "docker:",
            Self::Podman(_) => "podman:",
            Self::Nspawn(_) => "nspawn:",
            Self::Lxc(_) => "lxc:",
            Self::Veth(_) => "veth:",
            Self::Bare(_) => "",
        };
        f.write_str(kind)?;
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let parse = |text: &str| text.parse::<Name>();
        assert_eq!(parse("web").ok(), Some(Name::Bare("web".into())));
        assert_eq!(parse("docker:web-1.a_b").ok(), Some(Name::Docker("web-1.a_b".into())));
        assert_eq!(parse("pid:42").ok(), Some(Name::Pid(42)));
        assert_eq!(parse("veth:veth0@1").ok(), Some(Name::Veth("veth0@1".into())));
        for bad in [
            "",
            "netns:",
            "netns:../x",
            "netns:..",
            "pid:x",
            "pid:-1",
            "lxd:a",
            "lxc:",
            "lxc:../a",
            "nspawn:..",
            "podman:a/b",
            "a b",
            "a\n",
            "docker:a?b",
            ".",
            "..",
            "/",
            "netns:.",
            "a/../b",
            "netns:a\0b",
            "veth:a\x1b[2J",
            "docker:a\x7f",
            "a\u{202e}b",
            "docker:%2e%2e",
        ] {
            let error = parse(bad).expect_err(bad);
            assert!(matches!(error, Error::BadName { .. }), "{bad}: {error}");
            assert!(!error.to_string().contains('\n'), "{bad}: one line");
        }
    }

    #[test]
    fn shown_as_given() {
        for text in ["netns:a", "pid:1", "docker:b", "podman:c", "nspawn:d", "lxc:e", "veth:f", "g"]
        {
            assert_eq!(
                text.parse::<Name>().map(|name| name.to_string()).ok().as_deref(),
                Some(text)
            );
        }
    }
}
