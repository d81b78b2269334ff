//! Offload features and drivers' counters of interfaces: ethtool's ioctls (include/uapi/linux/ethtool.h).

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::netns::Netns;
use crate::{Error, Result};

const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETH_SS_STATS: u32 = 1;
const ETH_SS_FEATURES: u32 = 4;
const ETH_GSTRING_LEN: usize = 32;
/// There is room for so many names and numbers, whatever the kernel says beforehand: it writes as many as there
/// are by then, and a container's root may give its end more queues meanwhile. A veth has at most 4096, with
/// some ten counters each.
const STATS_ROOM: usize = 1 << 16;
/// In the answer to `ETHTOOL_SFEATURES`: some could not be changed at all; some changes are only
/// noted, since something else keeps the feature as it is.
const ETHTOOL_F_UNSUPPORTED: i32 = 1 << 0;
const ETHTOOL_F_WISH: i32 = 1 << 1;

/// A socket for the ioctls, of one namespace.
#[derive(Debug)]
pub struct Ethtool {
    socket: OwnedFd,
}

/// The state of a feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    /// In force.
    pub active: bool,
    /// Wished for; not in force if something else prevents it.
    pub requested: bool,
    /// The driver does not let it be changed.
    pub fixed: bool,
}

/// What `struct ifreq` has after its name and an address.
const IFREQ_REST: usize = size_of::<libc::ifreq>() - libc::IFNAMSIZ - size_of::<*mut u32>();

/// `struct ifreq` with its union as an address.
#[repr(C)]
struct Ifreq {
    name: [u8; libc::IFNAMSIZ],
    data: *mut u32,
    rest: [u8; IFREQ_REST],
}

/// `struct ifreq` with its union as an index.
#[repr(C)]
struct IndexIfreq {
    name: [u8; libc::IFNAMSIZ],
    ifindex: i32,
    rest: [u8; size_of::<libc::ifreq>() - libc::IFNAMSIZ - size_of::<i32>()],
}

impl Ethtool {
    /// Opens one inside `netns`; the calling thread stays where it is.
    pub fn open_in(netns: &Netns) -> Result<Self> {
        let flags = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
        // SAFETY: no addresses are passed.
        let open = || Errno::result(unsafe { libc::socket(libc::AF_UNIX, flags, 0) });
        let fd = netns.run(open)?.map_err(Error::sys("socket", netns.path().display()))?;
        // SAFETY: it has just been opened, so it is nobody else's.
        Ok(Self { socket: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The state of a feature, named in full: `tx-checksum-ip-generic`, `rx-gro`.
    pub fn feature(&self, ifindex: u32, name: &str) -> Result<Feature> {
        let (count, index) = self.find(ifindex, name)?;
        let blocks = count.div_ceil(32);
        let mut buf = vec![0; 2 + 4 * blocks];
        fill(&mut buf, &[ETHTOOL_GFEATURES, blocks as u32]);
        self.ioctl("ETHTOOL_GFEATURES", ifindex, &mut buf)?;
        // A block: available, requested, active, never_changed.
        let word = |which: usize| buf.get(2 + 4 * (index / 32) + which).copied().unwrap_or(0);
        let bit = |which| word(which) >> (index % 32) & 1 == 1;
        Ok(Feature { active: bit(2), requested: bit(1), fixed: !bit(0) || bit(3) })
    }

    /// Switches a feature on or off. It is an error if the driver does not have it or does not
    /// let it be changed, and if the kernel keeps it as it was.
    pub fn set_feature(&self, ifindex: u32, name: &str, on: bool) -> Result<()> {
        let (count, index) = self.find(ifindex, name)?;
        let blocks = count.div_ceil(32);
        let mut buf = vec![0; 2 + 2 * blocks];
        fill(&mut buf, &[ETHTOOL_SFEATURES, blocks as u32]);
        // A block: valid, requested.
        let bit = 1 << (index % 32);
        let request = [bit, if on { bit } else { 0 }];
        fill(buf.get_mut(2 + 2 * (index / 32)..).unwrap_or_default(), &request);
        let answer = self.ioctl("ETHTOOL_SFEATURES", ifindex, &mut buf)?;
        let refused =
            |reason| Error::Feature { ifname: self.shown(ifindex), feature: name.into(), reason };
        if answer & ETHTOOL_F_UNSUPPORTED != 0 {
            return Err(refused("the driver does not let it be changed: do without"));
        }
        if answer & ETHTOOL_F_WISH != 0 {
            return Err(refused("the kernel keeps it as it is: see what it needs with ethtool -k"));
        }
        Ok(())
    }

    /// The driver's own counters, by the names and in the order of `ethtool -S`. None if it has none.
    pub fn statistics(&self, ifindex: u32) -> Result<Vec<(String, u64)>> {
        let count = self.count(ifindex, ETH_SS_STATS)?;
        // Half of the room is for what is added meanwhile.
        if count == 0 || count > STATS_ROOM / 2 {
            return Ok(Vec::new());
        }
        let names = self.strings(ifindex, ETH_SS_STATS, count, STATS_ROOM)?;
        // struct ethtool_stats: cmd, count, then 64 bits for each.
        let mut buf = vec![0u32; 2 + 2 * STATS_ROOM];
        fill(&mut buf, &[ETHTOOL_GSTATS, count as u32]);
        self.ioctl("ETHTOOL_GSTATS", ifindex, &mut buf)?;
        let number = |words: &[u32]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            bytes.first_chunk().copied().map_or(0, u64::from_ne_bytes)
        };
        let numbers = buf.get(2..).unwrap_or_default().chunks_exact(2).map(number);
        Ok(names.iter().map(|name| name.escape_ascii().to_string()).zip(numbers).collect())
    }

    /// How many features this kernel has, and which of them is `name`.
    fn find(&self, ifindex: u32, name: &str) -> Result<(usize, usize)> {
        let count = self.count(ifindex, ETH_SS_FEATURES)?;
        let unknown = || Error::Feature {
            ifname: self.shown(ifindex),
            feature: name.into(),
            reason: "this kernel has no such feature: see ethtool -k for the names",
        };
        // Without a count there is no telling how much GSTRINGS would write.
        if count == 0 {
            return Err(unknown());
        }
        let names = self.strings(ifindex, ETH_SS_FEATURES, count, count)?;
        let index = names.iter().position(|given| given == name.as_bytes()).ok_or_else(unknown)?;
        Ok((count, index))
    }

    /// How many names a set has.
    fn count(&self, ifindex: u32, set: u32) -> Result<usize> {
        // struct ethtool_sset_info: cmd, reserved, mask (64 bits), one count.
        let mut info = [ETHTOOL_GSSET_INFO, 0, 0, 0, 0];
        let mask = (1u64 << set).to_ne_bytes();
        for (word, bytes) in info.iter_mut().skip(2).zip(mask.chunks_exact(4)) {
            *word = bytes.first_chunk().copied().map_or(0, u32::from_ne_bytes);
        }
        self.ioctl("ETHTOOL_GSSET_INFO", ifindex, &mut info)?;
        Ok(info[4] as usize)
    }

    /// The first `count` names of a set that has at most `room`.
    fn strings(&self, ifindex: u32, set: u32, count: usize, room: usize) -> Result<Vec<Vec<u8>>> {
        // struct ethtool_gstrings: cmd, set, count, then the names.
        let mut buf = vec![0u32; 3 + room * ETH_GSTRING_LEN / 4];
        fill(&mut buf, &[ETHTOOL_GSTRINGS, set, count as u32]);
        self.ioctl("ETHTOOL_GSTRINGS", ifindex, &mut buf)?;
        let words = buf.get(3..).unwrap_or_default().chunks_exact(ETH_GSTRING_LEN / 4).take(count);
        let name = |words: &[u32]| {
            let bytes = words.iter().flat_map(|word| word.to_ne_bytes());
            bytes.take_while(|byte| *byte != 0).collect()
        };
        Ok(words.map(name).collect())
    }

    /// The ioctl. `buf` must be as long as its command and the lengths in it say: private, and
    /// each caller above sizes it by the kernel's own count.
    fn ioctl(&self, call: &'static str, ifindex: u32, buf: &mut [u32]) -> Result<i32> {
        let name = self.name_of(ifindex)?;
        let mut request = Ifreq { name, data: buf.as_mut_ptr(), rest: [0; IFREQ_REST] };
        // SAFETY: `request` is laid out as struct ifreq; the kernel reads and writes at `data` no
        // more than the command's struct with the counts in it. (GSTRINGS and
        // GSTATS write as many as there are: of features, that number is fixed when the kernel is built; of a
        // veth's counters there are fewer than `STATS_ROOM`.)
        let ret = unsafe {
            libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request)
        };
        Errno::result(ret).map_err(|errno| Error::sys(call, self.shown(ifindex))(errno))
    }

    /// The interface's name, byte for byte: a container's root may give any.
    fn name_of(&self, ifindex: u32) -> Result<[u8; libc::IFNAMSIZ]> {
        let mut request = IndexIfreq {
            name: [0; libc::IFNAMSIZ],
            ifindex: ifindex as i32,
            rest: [0; size_of::<libc::ifreq>() - libc::IFNAMSIZ - size_of::<i32>()],
        };
        // SAFETY: `request` is laid out as struct ifreq; the kernel writes its name.
        let ret = unsafe {
            libc::ioctl(self.socket.as_raw_fd(), libc::SIOCGIFNAME as _, &raw mut request)
        };
        let on = || format!("ifindex {ifindex}");
        Errno::result(ret).map_err(|errno| Error::sys("SIOCGIFNAME", on())(errno))?;
        Ok(request.name)
    }

    /// The name for messages.
    fn shown(&self, ifindex: u32) -> String {
        let name = self.name_of(ifindex).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        name.escape_ascii().to_string()
    }
}

/// Copies `words` to the start of `buf`.
fn fill(buf: &mut [u32], words: &[u32]) {
    for (to, from) in buf.iter_mut().zip(words) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netlink::Rtnl;
    use crate::sys::testing::{in_new_netns, privileged};

    #[test]
    fn features_of_a_veth() {
        if !privileged("ethtool::features_of_a_veth") {
            return;
        }
        in_new_netns(|| {
            let netns = Netns::current().expect("current");
            let rtnl = Rtnl::open_in(&netns).expect("socket");
            rtnl.add_veth("a", "b", &netns).expect("veth");
            let a = rtnl.link("a").expect("links").expect("a").ifindex;
            let ethtool = Ethtool::open_in(&netns).expect("socket");
            let get = |name| ethtool.feature(a, name).expect("known");
            let tx = "tx-checksum-ip-generic";
            assert_eq!(get(tx), Feature { active: true, requested: true, fixed: false });
            ethtool.set_feature(a, tx, false).expect("off");
            assert_eq!(get(tx), Feature { active: false, requested: false, fixed: false });
            // Without checksums there is no TSO: it stays a wish.
            let tso = "tx-tcp-segmentation";
            assert!(!get(tso).active && get(tso).requested);
            ethtool.set_feature(a, tso, false).expect("off");
            let wish = ethtool.set_feature(a, tso, true).expect_err("stays a wish");
            assert!(wish.to_string().starts_with("a: feature tx-tcp-segmentation: the kernel"));
            ethtool.set_feature(a, tx, true).expect("on");
            assert!(get(tx).active && get(tso).active);
        });
    }

    #[test]
    fn counters_of_a_veth() {
        if !privileged("ethtool::counters_of_a_veth") {
            return;
        }
        in_new_netns(|| {
            let netns = Netns::current().expect("current");
            let rtnl = Rtnl::open_in(&netns).expect("socket");
            rtnl.add_veth("a", "b", &netns).expect("veth");
            let [a, b] =
                ["a", "b"].map(|name| rtnl.link(name).expect("links").expect(name).ifindex);
            let ethtool = Ethtool::open_in(&netns).expect("socket");
            let counters = ethtool.statistics(a).expect("counters");
            // What veth has told since 2014 in its first counter.
            assert_eq!(counters.first(), Some(&("peer_ifindex".to_owned(), b.into())));
            assert!(
                counters.iter().any(|(name, _)| name == "rx_queue_0_xdp_drops"),
                "{counters:?}"
            );
            assert_eq!(ethtool.statistics(1).expect("the loopback has none"), []);
        });
    }

    #[test]
    fn what_can_not_be_had_is_named() {
        if !privileged("ethtool::what_can_not_be_had_is_named") {
            return;
        }
        in_new_netns(|| {
            let ethtool = Ethtool::open_in(&Netns::current().expect("current")).expect("socket");
            const LO: u32 = 1;
            assert!(ethtool.feature(LO, "tx-vlan-challenged").is_err());
            let fixed = ethtool.feature(LO, "loopback").expect("known");
            assert!(fixed.fixed && fixed.active);
            let error = ethtool.set_feature(LO, "loopback", false).expect_err("fixed");
            assert!(matches!(error, Error::Feature { .. }), "{error}");
            let error = ethtool.feature(999, "loopback").expect_err("no such interface");
            assert_eq!(error.errno(), Some(Errno::ENODEV));
        });
    }
}
