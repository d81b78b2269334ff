//! bpf(2): maps, programs and links, each owning its descriptor.
//!
//! The attribute structs are the parts of `union bpf_attr` (include/uapi/linux/bpf.h) up to the
//! last field that is used, so that a kernel which lacks later fields has nothing to object to.

mod btf;
mod link;
mod load;
mod map;
mod prog;
mod prog_info;
mod query;
mod ring;
mod xlated;

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use crate::{Error, Result};

pub use link::{Link, LinkInfo, XdpMode};
pub use map::{Map, MapInfo, possible_cpus};
pub use prog::{Context, Prog, ProgInfo, SkBuff, TestResult, TestRun, XdpMd};
pub use query::{TcxHook, has_tcx, tcx};
pub use ring::Ring;
pub use xlated::Translated;

/// A command of the system call, with the kernel's number and name (`enum bpf_cmd`).
#[derive(Clone, Copy)]
struct Cmd(u32, &'static str);

impl Cmd {
    const MAP_CREATE: Self = Self(0, "BPF_MAP_CREATE");
    const MAP_LOOKUP_ELEM: Self = Self(1, "BPF_MAP_LOOKUP_ELEM");
    const MAP_UPDATE_ELEM: Self = Self(2, "BPF_MAP_UPDATE_ELEM");
    const MAP_DELETE_ELEM: Self = Self(3, "BPF_MAP_DELETE_ELEM");
    const MAP_GET_NEXT_KEY: Self = Self(4, "BPF_MAP_GET_NEXT_KEY");
    const PROG_LOAD: Self = Self(5, "BPF_PROG_LOAD");
    const OBJ_PIN: Self = Self(6, "BPF_OBJ_PIN");
    const OBJ_GET: Self = Self(7, "BPF_OBJ_GET");
    const PROG_TEST_RUN: Self = Self(10, "BPF_PROG_TEST_RUN");
    const PROG_GET_NEXT_ID: Self = Self(11, "BPF_PROG_GET_NEXT_ID");
    const MAP_GET_NEXT_ID: Self = Self(12, "BPF_MAP_GET_NEXT_ID");
    const PROG_GET_FD_BY_ID: Self = Self(13, "BPF_PROG_GET_FD_BY_ID");
    const MAP_GET_FD_BY_ID: Self = Self(14, "BPF_MAP_GET_FD_BY_ID");
    const OBJ_GET_INFO_BY_FD: Self = Self(15, "BPF_OBJ_GET_INFO_BY_FD");
    const PROG_QUERY: Self = Self(16, "BPF_PROG_QUERY");
    const BTF_LOAD: Self = Self(18, "BPF_BTF_LOAD");
    const LINK_CREATE: Self = Self(28, "BPF_LINK_CREATE");
    const LINK_UPDATE: Self = Self(29, "BPF_LINK_UPDATE");
    const LINK_GET_FD_BY_ID: Self = Self(30, "BPF_LINK_GET_FD_BY_ID");
    const LINK_GET_NEXT_ID: Self = Self(31, "BPF_LINK_GET_NEXT_ID");
    const LINK_DETACH: Self = Self(34, "BPF_LINK_DETACH");

    /// For `map_err`.
    fn failed(self, on: impl ToString) -> impl FnOnce(Errno) -> Error {
        Error::sys(self.1, on)
    }

    /// The same for what [`bpf_fd_charged`] was refused. Who gets here has the capabilities.
    fn failed_charged(self, on: impl ToString) -> impl FnOnce(Errno) -> Error {
        move |errno| match errno {
            Errno::EPERM => {
                let hint = "before kernel 5.11: `ulimit -l unlimited`, or give it CAP_SYS_RESOURCE";
                Error::Sys { call: self.1, on: on.to_string(), errno, hint }
            }
            _ => self.failed(on)(errno),
        }
    }
}

/// Plain data as the kernel takes it.
///
/// # Safety
/// `repr(C)`, without padding, valid for every bit pattern; every address in it is of memory
/// that holds what the command of this attribute reads or writes there.
unsafe trait Attr {}

/// The system call. Gives its non-negative result: a descriptor or zero.
fn bpf<A: Attr>(cmd: Cmd, attr: &mut A) -> nix::Result<i32> {
    // SAFETY: `attr` is `size_of::<A>()` bytes of plain data, and its addresses are good for this
    // command, both by the contract of `Attr`.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            cmd.0 as libc::c_long,
            std::ptr::from_mut(attr),
            size_of::<A>() as libc::c_long,
        )
    };
    Errno::result(ret).map(|ret| ret as i32)
}

/// The system call for a command that gives a descriptor; the kernel opens it close-on-exec.
fn bpf_fd<A: Attr>(cmd: Cmd, attr: &mut A) -> nix::Result<OwnedFd> {
    let fd = bpf(cmd, attr)?;
    // SAFETY: the command has just opened it, so it is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The same for what counts against `RLIMIT_MEMLOCK` before 5.11, where EPERM may mean that:
/// the limit is lifted once.
fn bpf_fd_charged<A: Attr>(cmd: Cmd, attr: &mut A) -> nix::Result<OwnedFd> {
    match bpf_fd(cmd, attr) {
        Err(Errno::EPERM) => {
            // If it can't be lifted, the second EPERM says enough.
            let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
            bpf_fd(cmd, attr)
        }
        other => other,
    }
}

fn addr<T>(slice: &[T]) -> u64 {
    slice.as_ptr().expose_provenance() as u64
}

fn addr_mut<T>(slice: &mut [T]) -> u64 {
    slice.as_mut_ptr().expose_provenance() as u64
}

/// A name as `bpf_obj_name_cpy` takes it: 15 of `[A-Za-z0-9_.]` and a NUL.
fn obj_name(name: &str) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().take(15).zip(name.bytes()) {
        *to = if from.is_ascii_alphanumeric() || from == b'.' { from } else { b'_' };
    }
    out
}

/// The name that the kernel has for an object of this one: its beginning.
pub fn kernels_name(name: &str) -> String {
    name_string(&obj_name(name))
}

fn name_string(name: &[u8; 16]) -> String {
    let len = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..len]).into_owned()
}

#[repr(C)]
struct ObjAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

// SAFETY: laid out as the kernel has it; `pathname` is that of a live CString.
unsafe impl Attr for ObjAttr {}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|nul| Error::io(path)(nul.into()))
}

/// Pins an object to a path on a BPF file system.
fn obj_pin(fd: BorrowedFd, path: &Path) -> Result<()> {
    let pathname = c_path(path)?;
    let mut attr =
        ObjAttr { pathname: addr(pathname.as_bytes_with_nul()), bpf_fd: raw(fd), file_flags: 0 };
    let done = bpf(Cmd::OBJ_PIN, &mut attr);
    done.map(drop).map_err(Cmd::OBJ_PIN.failed(path.display()))
}

/// Opens a pin, if it is a `wanted`: `bpf-map`, `bpf-prog` or `bpf-link`.
fn obj_get(path: &Path, wanted: &'static str) -> Result<OwnedFd> {
    let pathname = c_path(path)?;
    let mut attr =
        ObjAttr { pathname: addr(pathname.as_bytes_with_nul()), bpf_fd: 0, file_flags: 0 };
    let fd = bpf_fd(Cmd::OBJ_GET, &mut attr).map_err(|errno| match errno {
        Errno::EACCES if path.is_dir() => {
            Error::Pin { path: path.into(), wanted, found: "folder".into() }
        }
        _ => Cmd::OBJ_GET.failed(path.display())(errno),
    })?;
    let proc_fd = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let found = std::fs::read_link(&proc_fd).map_err(Error::io(proc_fd))?;
    // `anon_inode:bpf-map`; a link is `bpf_link` where it was created and `bpf-link` elsewhere.
    let found = found.to_string_lossy().replace('_', "-");
    let found = found.trim_start_matches("anon-inode:").trim_matches(['[', ']']);
    if found == wanted {
        return Ok(fd);
    }
    Err(Error::Pin { path: path.into(), wanted, found: found.into() })
}

#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

// SAFETY: laid out as the kernel has it; `info` is that of `info_len` writable bytes.
unsafe impl Attr for InfoAttr {}

/// Has the kernel fill in `info`, which may be a prefix of what it knows.
///
/// # Safety
/// `I` is the beginning of the kernel's info struct for this kind of object, plain data; the
/// addresses in it are good for what the kernel stores there.
unsafe fn obj_info<I>(fd: BorrowedFd, info: &mut I) -> nix::Result<()> {
    let mut attr = InfoAttr {
        bpf_fd: raw(fd),
        info_len: size_of::<I>() as u32,
        info: addr_mut(std::slice::from_mut(info)),
    };
    bpf(Cmd::OBJ_GET_INFO_BY_FD, &mut attr).map(drop)
}

#[repr(C)]
struct IdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

// SAFETY: laid out as the kernel has it, no addresses.
unsafe impl Attr for IdAttr {}

fn fd_by_id(cmd: Cmd, id: u32) -> Result<OwnedFd> {
    let mut attr = IdAttr { id, next_id: 0, open_flags: 0 };
    bpf_fd(cmd, &mut attr).map_err(cmd.failed(format!("id {id}")))
}

/// A kind of object that has ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjKind {
    /// Programs.
    Prog,
    /// Maps.
    Map,
    /// Links.
    Link,
}

/// The ids of all objects of a kind on this host, rising.
pub fn ids(kind: ObjKind) -> Result<Vec<u32>> {
    let cmd = match kind {
        ObjKind::Prog => Cmd::PROG_GET_NEXT_ID,
        ObjKind::Map => Cmd::MAP_GET_NEXT_ID,
        ObjKind::Link => Cmd::LINK_GET_NEXT_ID,
    };
    let mut ids = Vec::new();
    let mut attr = IdAttr { id: 0, next_id: 0, open_flags: 0 };
    loop {
        match bpf(cmd, &mut attr) {
            Ok(_) => ids.push(attr.next_id),
            Err(Errno::ENOENT) => return Ok(ids),
            Err(errno) => return Err(cmd.failed(format!("id {}", attr.id))(errno)),
        }
        attr.id = attr.next_id;
    }
}

/// What the kernel has charged for an object, in bytes: `memlock` of /proc/PID/fdinfo (proc_pid_fdinfo(5)).
fn memory(fd: BorrowedFd) -> Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    let bytes = text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok());
    bytes.ok_or_else(|| Error::io(path)(std::io::ErrorKind::InvalidData.into()))
}

/// A descriptor as the attributes have it.
fn raw(fd: impl AsFd) -> u32 {
    let fd: RawFd = fd.as_fd().as_raw_fd();
    fd as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::bpffs;
    use crate::sys::testing::{in_new_mountns, in_new_netns, privileged};
    use xhop_asm::{MapDecl, MapKind, programs};

    #[test]
    fn names_fit_the_kernel() {
        assert_eq!(&obj_name("forward+complete"), b"forward_complet\0");
        assert_eq!(name_string(&obj_name("a.b-ü")), "a.b___");
        assert_eq!(name_string(b"0123456789abcdef"), "0123456789abcdef");
    }

    #[test]
    fn pins_outlive_descriptors() {
        if !privileged("bpf::pins_outlive_descriptors") {
            return;
        }
        let decl = MapDecl {
            name: "pinned",
            kind: MapKind::Hash,
            key_size: 1,
            value_size: 1,
            max_entries: 1,
            flags: 0,
        };
        let program = programs::pass().expect("assembles");
        in_new_mountns("pins", |dir| {
            bpffs::ensure(dir).expect("mounts");
            let at = |name| dir.join(name);
            Map::create(&decl).expect("create").pin(&at("map")).expect("pins");
            let prog = Prog::load_any(&program, &[]).expect("loads");
            prog.pin(&at("prog")).expect("pins");
            let id = prog.info().expect("info").id;
            drop(prog);

            let map = Map::open_pinned(&at("map")).expect("opens");
            assert!(map.matches(&decl));
            assert!(ids(ObjKind::Map).expect("ids").contains(&map.info().id));
            let prog = Prog::open_pinned(&at("prog")).expect("opens");
            assert_eq!((prog.info().expect("info").id, prog.map_refs()), (id, None));
            in_new_netns(|| {
                let link = Link::create_xdp(&prog, 1, XdpMode::Generic).expect("attaches");
                link.pin(&at("link")).expect("pins");
                drop(link);
                let link = Link::open_pinned(&at("link")).expect("opens");
                assert_eq!(link.info().expect("info").prog_id, id);
            });

            let error = Map::open_pinned(&at("prog")).expect_err("a program");
            assert!(matches!(&error, Error::Pin { found, .. } if found == "bpf-prog"), "{error}");
            assert!(
                Link::open_pinned(&at("map")).is_err() && Prog::open_pinned(&at("link")).is_err()
            );
            let error = map.pin(&at("map")).expect_err("exists");
            assert_eq!(error.errno(), Some(Errno::EEXIST));
            let error = Map::open_pinned(&at("none")).expect_err("nothing");
            assert_eq!(error.errno(), Some(Errno::ENOENT));
        });
    }
}
