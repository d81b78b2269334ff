//! A segment: the containers that are joined on one bridge, and where their state is kept.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xhop_asm::MapDecl;
use xhop_asm::blocks::{Family, endpoint};

use crate::container::Interface;

/// The one folder for pins.
pub const PINS: &str = "/sys/fs/bpf/xhop";
/// The one folder for records and the lock.
pub const RUN: &str = "/run/xhop";
/// Locked while `xhop watch` runs.
pub const WATCH: &str = "/run/xhop/watch";
/// How the file is called that is there while something is being changed.
pub const UNFINISHED: &str = "unfinished";

/// A bridge whose ports are joined.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Segment {
    /// The bridge itself.
    pub bridge: Interface,
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bridge.fmt(f)
    }
}

impl Segment {
    /// Its folder's name, made of numbers only: nothing from outside gets into a path.
    fn folder(&self) -> String {
        format!("{}-{}", self.bridge.netns, self.bridge.ifindex)
    }

    /// The folder of its pins.
    pub fn pins(&self) -> PathBuf {
        Path::new(PINS).join(self.folder())
    }

    /// The folder of one member's pins.
    pub fn member_pins(&self, host: &Interface) -> PathBuf {
        self.pins().join(host.ifindex.to_string())
    }

    /// The file of one member's record.
    pub fn record(&self, host: &Interface) -> PathBuf {
        Path::new(RUN).join(format!("{}-{}.json", self.folder(), host.ifindex))
    }

    /// The file that is there while something is being changed.
    pub fn unfinished(&self) -> PathBuf {
        Path::new(RUN).join(format!("{}.{UNFINISHED}", self.folder()))
    }

    /// The maps that all its members share.
    pub fn maps() -> [MapDecl; 3] {
        [endpoint::endpoints(Family::V4), endpoint::endpoints(Family::V6), endpoint::ports()]
    }
}
