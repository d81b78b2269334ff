//! Programs that are loaded: ask, pin, run on a packet.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use xhop_asm::tag::MapRefs;
use xhop_asm::tc::sk_buff;

use super::prog_info::RawInfo;
use super::{Attr, Cmd, addr, addr_mut, bpf, raw};
use crate::Result;

/// A loaded program, kept alive by its descriptor.
#[derive(Debug)]
pub struct Prog {
    fd: OwnedFd,
    map_refs: Option<MapRefs>,
    btf_refused: Option<Errno>,
}

/// What the kernel says of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProgInfo {
    /// Its type (`enum bpf_prog_type`).
    pub kind: u32,
    /// Its id, unique on this host while it lives.
    pub id: u32,
    /// The kernel's hash of the instructions.
    pub tag: [u8; 8],
    /// Its name, at most 15 bytes.
    pub name: String,
    /// The maps that it uses.
    pub map_ids: Vec<u32>,
    /// Whether it runs as machine code.
    pub jited: bool,
    /// For how many instructions the kernel has a comment and a source line.
    pub line_infos: u32,
    /// The id of its BTF; 0 if it has none.
    pub btf_id: u32,
    /// The id of the BTF, of a program or the kernel, whose functions it is loaded to trace or replace;
    /// 0 if it is for no such thing, once it was attached to a program (then its link tells), and before
    /// kernel 6.0.
    pub traces_btf_id: u32,
}

/// `struct xdp_md`: what an XDP program gets in r1.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct XdpMd {
    /// Where the packet begins; in a test run what precedes it is metadata.
    pub data: u32,
    /// Where it ends; in a test run the length of the input.
    pub data_end: u32,
    /// Where metadata begins; in a test run zero.
    pub data_meta: u32,
    /// The interface that it came in by, of the calling thread's netns.
    pub ingress_ifindex: u32,
    /// The queue of that interface.
    pub rx_queue_index: u32,
    /// For programs in a devmap; in a test run zero.
    pub egress_ifindex: u32,
}

/// `struct __sk_buff`: what a traffic control program gets in r1. In a test run all but a few of its fields
/// must be zero (net/bpf/test_run.c, `convert___skb_to_skb`).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SkBuff([u32; sk_buff::SIZE / 4]);

impl SkBuff {
    /// One that came in by this interface, of the calling thread's netns.
    pub fn of(ifindex: u32) -> Self {
        let mut words = [0; sk_buff::SIZE / 4];
        words[sk_buff::IFINDEX as usize / 4] = ifindex;
        Self(words)
    }
}

/// A context, of the program's hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// Of an XDP program (kernels from 5.15).
    Xdp(XdpMd),
    /// Of a traffic control program.
    Tc(SkBuff),
}

impl Context {
    /// Where it lies, and how many bytes it has.
    fn place(&self) -> (u64, u32) {
        match self {
            Self::Xdp(ctx) => (addr(std::slice::from_ref(ctx)), size_of_val(ctx) as u32),
            Self::Tc(ctx) => (addr(std::slice::from_ref(ctx)), size_of_val(ctx) as u32),
        }
    }
}

/// A packet to run a program on.
#[derive(Clone, Copy, Default, Debug)]
pub struct TestRun<'a> {
    /// From its Ethernet header on; at least 14 bytes.
    pub data_in: &'a [u8],
    /// The context, else the loopback's.
    pub ctx_in: Option<Context>,
    /// How often it is run; 0 is once.
    pub repeat: u32,
}

/// What a program did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestResult {
    /// Its verdict, as in r0.
    pub retval: u32,
    /// The packet after the last run.
    pub data_out: Vec<u8>,
    /// The mean time of one run, in nanoseconds.
    pub duration_ns: u32,
}

#[repr(C)]
#[derive(Default)]
struct TestAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    /// Zero, not padding: the kernel reads it.
    rest: u32,
}

/// `BPF_F_TEST_XDP_LIVE_FRAMES`, include/uapi/linux/bpf.h
const LIVE_FRAMES: u32 = 1 << 1;

// SAFETY: laid out as the kernel has it; `Prog::test_run` keeps buffers of the sizes told.
unsafe impl Attr for TestAttr {}

impl From<OwnedFd> for Prog {
    /// A program that somebody else has loaded.
    fn from(fd: OwnedFd) -> Self {
        Self { fd, map_refs: None, btf_refused: None }
    }
}

impl AsFd for Prog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Prog {
    /// For `load`.
    pub(super) fn from_load(fd: OwnedFd, map_refs: MapRefs, btf_refused: Option<Errno>) -> Self {
        Self { fd, map_refs: Some(map_refs), btf_refused }
    }

    /// Opens a pinned program.
    pub fn open_pinned(path: &Path) -> Result<Self> {
        Ok(super::obj_get(path, "bpf-prog")?.into())
    }

    /// Opens a program by its id.
    pub fn by_id(id: u32) -> Result<Self> {
        Ok(super::fd_by_id(Cmd::PROG_GET_FD_BY_ID, id)?.into())
    }

    /// How it names its maps; `None` if it was not loaded here but opened.
    pub fn map_refs(&self) -> Option<MapRefs> {
        self.map_refs
    }

    /// Why the kernel has it without its comments and source lines: the answer to its BTF, or to the
    /// program with it. `None` if it has them, or was not loaded here but opened.
    pub fn btf_refused(&self) -> Option<Errno> {
        self.btf_refused
    }

    /// What the kernel has charged for it, in bytes.
    pub fn memory(&self) -> Result<u64> {
        super::memory(self.as_fd())
    }

    /// Pins it to a path on a BPF file system.
    pub fn pin(&self, path: &Path) -> Result<()> {
        super::obj_pin(self.as_fd(), path)
    }

    /// What the kernel says of it.
    pub fn info(&self) -> Result<ProgInfo> {
        let mut info = RawInfo::default();
        self.raw_info(&mut info)?;
        let mut map_ids = vec![0u32; info.nr_map_ids as usize];
        let mut again = RawInfo {
            nr_map_ids: info.nr_map_ids,
            map_ids: addr_mut(&mut map_ids),
            ..RawInfo::default()
        };
        self.raw_info(&mut again)?;
        Ok(ProgInfo {
            kind: info.kind,
            id: info.id,
            tag: info.tag,
            name: super::name_string(&info.name),
            map_ids,
            jited: info.jited_prog_len != 0,
            line_infos: info.nr_line_info,
            btf_id: info.btf_id,
            traces_btf_id: info.attach_btf_obj_id,
        })
    }

    pub(super) fn raw_info(&self, info: &mut RawInfo) -> Result<()> {
        // SAFETY: `RawInfo` is the beginning of the kernel's struct; its only addresses that have a
        // length are `map_ids`, of `nr_map_ids` writable elements, `xlated_prog_insns`, of
        // `xlated_prog_len` bytes, and `line_info`, of `nr_line_info` records.
        unsafe { super::obj_info(self.as_fd(), info) }
            .map_err(Cmd::OBJ_GET_INFO_BY_FD.failed("a program"))
    }

    /// Runs it on a packet, without any interface (net/bpf/test_run.c).
    pub fn test_run(&self, run: &TestRun) -> Result<TestResult> {
        // The program may grow the packet by at most the headroom (256) and the tailroom.
        let mut data_out = vec![0; run.data_in.len() + 4096];
        let (ctx_in, ctx_size_in) = run.ctx_in.as_ref().map_or((0, 0), Context::place);
        let mut attr = TestAttr {
            prog_fd: raw(self),
            data_size_in: run.data_in.len() as u32,
            data_size_out: data_out.len() as u32,
            data_in: addr(run.data_in),
            data_out: addr_mut(&mut data_out),
            repeat: run.repeat,
            ctx_size_in,
            ctx_in,
            ..TestAttr::default()
        };
        bpf(Cmd::PROG_TEST_RUN, &mut attr)
            .map_err(Cmd::PROG_TEST_RUN.failed(format!("{} bytes", run.data_in.len())))?;
        data_out.truncate(attr.data_size_out as usize);
        Ok(TestResult { retval: attr.retval, data_out, duration_ns: attr.duration })
    }

    /// Makes `repeat` frames of `data` that come in by `ingress`, an interface of the calling thread's
    /// netns, and does with each what the program says: it passes, or is redirected. Kernels from 5.18
    /// (Documentation/bpf/bpf_prog_run.rst). `ingress` must have a native program or NAPI.
    pub fn inject(&self, data: &[u8], ingress: u32, repeat: u32) -> Result<()> {
        let data_end = data.len() as u32;
        let ctx = [XdpMd { data_end, ingress_ifindex: ingress, ..XdpMd::default() }];
        let mut attr = TestAttr {
            prog_fd: raw(self),
            data_size_in: data_end,
            data_in: addr(data),
            repeat,
            ctx_size_in: size_of_val(&ctx) as u32,
            ctx_in: addr(&ctx),
            flags: LIVE_FRAMES,
            ..TestAttr::default()
        };
        bpf(Cmd::PROG_TEST_RUN, &mut attr)
            .map_err(Cmd::PROG_TEST_RUN.failed(format!("live frames by ifindex {ingress}")))
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::kernel::release;
    use crate::sys::testing::privileged;
    use xhop_asm::{Assembler, Pointer, R0, R1, programs, xdp};

    #[test]
    fn pass_runs() {
        if !privileged("prog::pass_runs") {
            return;
        }
        let program = programs::pass().expect("assembles");
        let prog = Prog::load_any(&program, &[]).expect("loads");
        let info = prog.info().expect("info");
        assert_eq!((info.name.as_str(), info.map_ids.len()), ("xhop_pass", 0));
        // SHA-1 until 6.17, SHA-256 since.
        let tags = [0x3b18_5187_f185_5c4c, 0x614b_434c_d832_4ecc_u64];
        assert!(tags.contains(&u64::from_be_bytes(info.tag)), "{:02x?}", info.tag);
        assert_eq!(Prog::by_id(info.id).expect("by id").info().expect("info"), info);

        let packet: Vec<u8> = (0..60).collect();
        let run = TestRun { data_in: &packet, repeat: 3, ..TestRun::default() };
        let result = prog.test_run(&run).expect("runs");
        assert_eq!((result.retval, &result.data_out), (2, &packet));
        // Before 5.18 the kernel does not look.
        if release().expect("uname") >= (5, 18) {
            assert!(prog.test_run(&TestRun::default()).is_err(), "no Ethernet header");
        }
    }

    #[test]
    fn context_is_passed() {
        if !privileged("prog::context_is_passed") {
            return;
        }
        let mut asm = Assembler::new("ifindex");
        asm.load(R0, R1.u32(xdp::xdp_md::INGRESS_IFINDEX), "verdict: where it came in");
        asm.exit("done");
        let program = asm.finish().expect("assembles");
        let prog = Prog::load_any(&program, &[]).expect("loads");
        if release().expect("uname") < (5, 15) {
            let run = TestRun {
                data_in: &[0; 64],
                ctx_in: Some(Context::Xdp(XdpMd::default())),
                repeat: 1,
            };
            assert_eq!(
                prog.test_run(&run).expect_err("no such thing").errno(),
                Some(Errno::EINVAL)
            );
            return;
        }
        let ctx = XdpMd { data_end: 64, ingress_ifindex: 1, ..XdpMd::default() };
        let run = TestRun { data_in: &[0; 64], ctx_in: Some(Context::Xdp(ctx)), repeat: 1 };
        assert_eq!(prog.test_run(&run).expect("runs").retval, 1);
        let run = TestRun { ctx_in: Some(Context::Xdp(XdpMd { data_end: 65, ..ctx })), ..run };
        assert_eq!(prog.test_run(&run).expect_err("past the end").errno(), Some(Errno::EINVAL));
    }
}
