//! Links: an attachment that lives as long as its descriptor or pin.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::{Attr, Cmd, Prog, TcxHook, bpf, bpf_fd, raw};
use crate::{Error, Result};

/// `enum bpf_attach_type`
const BPF_XDP: u32 = 37;
/// Only if the program in place is the expected one.
const BPF_F_REPLACE: u32 = 1 << 2;

/// Where in an interface an XDP program runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum XdpMode {
    /// In the driver, before there is an skb.
    Native,
    /// In the stack, on skbs.
    Generic,
    /// On the NIC itself.
    Offload,
}

impl XdpMode {
    /// `XDP_FLAGS_*` (include/uapi/linux/if_link.h)
    pub(crate) const fn flags(self) -> u32 {
        match self {
            Self::Generic => 1 << 1,
            Self::Native => 1 << 2,
            Self::Offload => 1 << 3,
        }
    }
}

/// A link; dropped without a pin, the program is detached.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
}

/// What the kernel says of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkInfo {
    /// Its id, unique on this host while it lives.
    pub id: u32,
    /// The program that it runs now.
    pub prog_id: u32,
    /// Of XDP and tcx: its interface; 0 when that is gone or was detached.
    pub ifindex: u32,
    /// Of fentry, freplace and the like: the id of the program that it traces or replaces, or else of
    /// the kernel's or a module's BTF; 0 before kernel 5.13.
    pub traces: Option<u32>,
}

/// `enum bpf_link_type`
const BPF_LINK_TYPE_TRACING: u32 = 2;
const BPF_LINK_TYPE_XDP: u32 = 6;
const BPF_LINK_TYPE_TCX: u32 = 11;

#[repr(C)]
struct CreateAttr {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

// SAFETY: laid out as the kernel has it, no addresses.
unsafe impl Attr for CreateAttr {}

#[repr(C)]
struct UpdateAttr {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

// SAFETY: laid out as the kernel has it, no addresses.
unsafe impl Attr for UpdateAttr {}

#[repr(C)]
struct DetachAttr {
    link_fd: u32,
}

// SAFETY: laid out as the kernel has it, no addresses.
unsafe impl Attr for DetachAttr {}

/// The beginning of `struct bpf_link_info`, with two words of its union: of XDP the ifindex and
/// nothing, of tcx the ifindex and the hook, of tracing the kind of attachment and its target.
#[repr(C)]
#[derive(Default)]
struct RawInfo {
    kind: u32,
    id: u32,
    prog_id: u32,
    pad: u32,
    union: [u32; 2],
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Link {
    /// Attaches an XDP program (kernels from 5.9). The interface is one of the calling thread's
    /// netns: call it inside [`Netns::run`](crate::sys::netns::Netns::run). EBUSY if it has a
    /// program already; the kernel keeps its reason for ERANGE and the like to itself here.
    pub fn create_xdp(prog: &Prog, ifindex: u32, mode: XdpMode) -> Result<Self> {
        Self::create(prog, ifindex, BPF_XDP, mode.flags())
    }

    /// Attaches a traffic control program (kernels from 6.6), behind those that are there. Of the calling
    /// thread's netns as well. EINVAL from a kernel without tcx.
    pub fn create_tcx(prog: &Prog, ifindex: u32, hook: TcxHook) -> Result<Self> {
        Self::create(prog, ifindex, hook as u32, 0)
    }

    fn create(prog: &Prog, ifindex: u32, attach_type: u32, flags: u32) -> Result<Self> {
        let mut attr =
            CreateAttr { prog_fd: raw(prog), target_ifindex: ifindex, attach_type, flags };
        let fd = bpf_fd(Cmd::LINK_CREATE, &mut attr);
        let on = format!("ifindex {ifindex}");
        Ok(Self { fd: fd.map_err(Cmd::LINK_CREATE.failed(on))? })
    }

    /// Puts `new` in the place of `old`, with no packet in between. EPERM if another is there,
    /// ENOLINK if the interface is gone.
    pub fn update(&self, new: &Prog, old: &Prog) -> Result<()> {
        let mut attr = UpdateAttr {
            link_fd: raw(self),
            new_prog_fd: raw(new),
            flags: BPF_F_REPLACE,
            old_prog_fd: raw(old),
        };
        self.call(Cmd::LINK_UPDATE, &mut attr).map_err(|error| match error {
            Error::Sys { call, on, errno: Errno::EPERM, .. } => {
                let hint = "another program is there: look again, and update that one";
                Error::Sys { call, on, errno: Errno::EPERM, hint }
            }
            other => other,
        })
    }

    /// Detaches now, pinned or not; the link stays, without an interface.
    pub fn detach(&self) -> Result<()> {
        self.call(Cmd::LINK_DETACH, &mut DetachAttr { link_fd: raw(self) })
    }

    fn call<A: Attr>(&self, cmd: Cmd, attr: &mut A) -> Result<()> {
        let named = |errno| {
            let on = self.info().map_or("a link".into(), |info| format!("link {}", info.id));
            cmd.failed(on)(errno)
        };
        bpf(cmd, attr).map(drop).map_err(named)
    }

    /// Pins it to a path on a BPF file system: it outlives this process.
    pub fn pin(&self, path: &Path) -> Result<()> {
        super::obj_pin(self.as_fd(), path)
    }

    /// Opens a pinned link.
    pub fn open_pinned(path: &Path) -> Result<Self> {
        Ok(Self { fd: super::obj_get(path, "bpf-link")? })
    }

    /// Opens a link by its id.
    pub fn by_id(id: u32) -> Result<Self> {
        Ok(Self { fd: super::fd_by_id(Cmd::LINK_GET_FD_BY_ID, id)? })
    }

    /// What the kernel says of it.
    pub fn info(&self) -> Result<LinkInfo> {
        let mut info = RawInfo::default();
        // SAFETY: `RawInfo` is the beginning of the kernel's struct; for XDP, tcx and tracing it has no
        // addresses, and zero where other kinds have one.
        unsafe { super::obj_info(self.as_fd(), &mut info) }
            .map_err(Cmd::OBJ_GET_INFO_BY_FD.failed("a link"))?;
        let [first, second] = info.union;
        Ok(LinkInfo {
            id: info.id,
            prog_id: info.prog_id,
            ifindex: match info.kind {
                BPF_LINK_TYPE_XDP | BPF_LINK_TYPE_TCX => first,
                _ => 0,
            },
            traces: (info.kind == BPF_LINK_TYPE_TRACING).then_some(second),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::bpf::{ObjKind, ids};
    use crate::sys::netlink::Rtnl;
    use crate::sys::netns::Netns;
    use crate::sys::testing::{in_new_netns, privileged};
    use xhop_asm::{Assembler, Program, R0, programs, xdp};

    fn load(program: &Program) -> (Prog, u32) {
        let prog = Prog::load_any(program, &[]).expect("loads");
        let id = prog.info().expect("info").id;
        (prog, id)
    }

    fn drop_all() -> Program {
        let mut asm = Assembler::new("drop");
        asm.mov(R0, xdp::DROP, "verdict");
        asm.exit("done");
        asm.finish().expect("assembles")
    }

    #[test]
    fn lives_and_ends() {
        if !privileged("link::lives_and_ends") {
            return;
        }
        let ((pass, pass_id), (drop_it, drop_id)) =
            (load(&programs::pass().expect("assembles")), load(&drop_all()));
        in_new_netns(|| {
            let netns = Netns::current().expect("current");
            let rtnl = Rtnl::open_in(&netns).expect("socket");
            rtnl.add_veth("a", "b", &netns).expect("veth");
            let veth = rtnl.link("a").expect("links").expect("a");
            let ifindex = veth.ifindex;

            let link = Link::create_xdp(&pass, ifindex, XdpMode::Native).expect("attaches");
            let info = link.info().expect("info");
            assert_eq!((info.prog_id, info.ifindex), (pass_id, ifindex));
            assert!(ids(ObjKind::Link).expect("ids").contains(&info.id));
            let busy = Link::create_xdp(&pass, ifindex, XdpMode::Native).expect_err("occupied");
            assert_eq!(busy.errno(), Some(Errno::EBUSY));
            assert!(busy.to_string().starts_with("BPF_LINK_CREATE on ifindex "), "{busy}");

            let stale = link.update(&pass, &drop_it).expect_err("another is there");
            assert_eq!(stale.errno(), Some(Errno::EPERM));
            link.update(&drop_it, &pass).expect("replaces");
            assert_eq!(link.info().expect("info").prog_id, drop_id);

            rtnl.del_link(ifindex).expect("deletes");
            assert_eq!(Link::by_id(info.id).expect("by id").info().expect("info").ifindex, 0);
            drop(link);
            assert!(!ids(ObjKind::Link).expect("ids").contains(&info.id), "leaks");
        });
    }

    #[test]
    fn detaches() {
        if !privileged("link::detaches") {
            return;
        }
        let (pass, _) = load(&programs::pass().expect("assembles"));
        in_new_netns(|| {
            let link = Link::create_xdp(&pass, 1, XdpMode::Generic).expect("attaches");
            assert_eq!(link.info().expect("info").ifindex, 1);
            link.detach().expect("detaches");
            assert_eq!(link.info().expect("info").ifindex, 0);
            let _again = Link::create_xdp(&pass, 1, XdpMode::Generic).expect("is free again");
        });
    }
}
