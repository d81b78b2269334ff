//! What interfaces and containers are known by.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::shell::shown;

/// An interface, by what does not change while it lives. Two are the same if namespace and index are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Interface {
    /// Inode number of its network namespace.
    pub netns: u64,
    /// Its index there.
    pub ifindex: u32,
    /// Its name when it was found; it may be renamed.
    pub name: String,
}

impl PartialEq for Interface {
    fn eq(&self, other: &Self) -> bool {
        (self.netns, self.ifindex) == (other.netns, other.ifindex)
    }
}

impl Eq for Interface {}

impl Hash for Interface {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.netns, self.ifindex).hash(state);
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A container's root gives it, and terminals are not his to steer.
        f.write_str(&shown(&self.name))
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut mac = [0; 6];
        hex::decode_to_slice(text.replace(':', ""), &mut mac)
            .map_err(|_| "not an Ethernet address")?;
        Ok(Self(mac))
    }
}
