//! What a service tells systemd (sd_notify(3)): a datagram to the socket that `NOTIFY_SOCKET` names. Without
//! one nobody wants to know, and nothing is sent.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::{Error, Result};

/// Whoever started this process, if he wants to be told.
pub struct Supervisor {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// How often he wants a sign of life.
    pub watchdog: Option<Duration>,
}

impl Supervisor {
    /// As the environment says.
    pub fn find() -> Result<Self> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Self { to: None, watchdog: None });
        };
        let failed = Error::io("NOTIFY_SOCKET");
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        let opened = address.and_then(|address| Ok((UnixDatagram::unbound()?, address)));
        Ok(Self { to: Some(opened.map_err(failed)?), watchdog: watchdog() })
    }

    /// Tells him, in the words of sd_notify(3). If he does not listen, it is not for us to fail.
    pub fn tell(&self, words: &str) {
        if let Some((socket, address)) = &self.to {
            let _ = socket.send_to_addr(words.as_bytes(), address);
        }
    }
}

/// Half the time after which this process would be taken for dead, if it is this one that is meant.
fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let limit = number("WATCHDOG_USEC").filter(|limit| meant && *limit > 0)?;
    Some(Duration::from_micros(limit) / 2)
}
