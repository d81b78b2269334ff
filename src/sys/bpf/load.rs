//! Loading: a program, its maps, and the verifier's log when it is refused.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use xhop_asm::btf::{FUNC_INFO_SIZE, LINE_INFO_SIZE};
use xhop_asm::insn::SLOT;
use xhop_asm::programs::Shipped;
use xhop_asm::tag::MapRefs;
use xhop_asm::{ByteOrder, Insn, LICENSE, Program};

use super::btf::Btf;
use super::{Attr, Cmd, Map, Prog, addr, addr_mut, bpf_fd_charged, obj_name, raw};
use crate::{Error, Result};

/// The first try for a log; most fit.
const LOG_SIZE: usize = 64 << 10;
/// The kernel's own limit (kernel/bpf/log.c, `bpf_verifier_log_attr_valid`).
const LOG_SIZE_MAX: usize = (u32::MAX >> 2) as usize;
/// The verifier gives up with EAGAIN when a signal is pending; so often it is asked again.
const LOAD_TRIES: usize = 5;

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_prog_fd: u32,
    core_relo_cnt: u32,
    fd_array: u64,
}

// SAFETY: laid out as the kernel has it; `Request` keeps the instructions, the license, the
// log (`log_size` bytes), a descriptor for each map that the instructions name, and the records
// that go with `prog_btf_fd`, of the sizes and numbers told.
unsafe impl Attr for LoadAttr {}

impl Prog {
    /// Loads a program with its maps, in the order of [`Program::maps`]. What is not
    /// [`Shipped`] can't be loaded.
    ///
    /// The canonical bytes are tried first; a kernel without `fd_array` gets them patched. With them
    /// go comments and source lines; a kernel that does not take those gets the program without. A
    /// refusal by the verifier comes with its whole log.
    ///
    /// ```no_run
    /// use xhop::sys::bpf::Prog;
    /// use xhop_asm::programs::Shipped;
    ///
    /// Prog::load(Shipped::Pass, &[])?;
    /// # Ok::<(), xhop::Error>(())
    /// ```
    ///
    /// There is no way in for a program that somebody else has put together, nor for an altered one:
    ///
    /// ```compile_fail,E0308
    /// use xhop::sys::bpf::Prog;
    /// use xhop_asm::programs::Shipped;
    ///
    /// let program = Shipped::Pass.program().expect("assembles");
    /// Prog::load(program, &[])?;
    /// # Ok::<(), xhop::Error>(())
    /// ```
    pub fn load(shipped: Shipped, maps: &[&Map]) -> Result<Self> {
        load(&shipped.program().map_err(Error::Assemble)?, maps)
    }

    /// Loads what is in no list: what tests put together.
    #[cfg(test)]
    pub(crate) fn load_any(program: &Program, maps: &[&Map]) -> Result<Self> {
        load(program, maps)
    }
}

fn load(program: &Program, maps: &[&Map]) -> Result<Prog> {
    load_with(program, maps, Btf::load(program))
}

fn load_with(program: &Program, maps: &[&Map], btf: nix::Result<Btf>) -> Result<Prog> {
    check_maps(program, maps)?;
    let mut request = Request::new(program, maps, btf.as_ref().ok());
    let mut refused = btf.as_ref().err().copied();
    let mut loaded = request.submit_either_way();
    if let (Err(errno @ (Errno::E2BIG | Errno::EINVAL)), None) = (&loaded, refused) {
        // If it is the BTF that is refused, then this is not.
        let bare = Request::new(program, maps, None).submit_either_way();
        if bare.is_ok() {
            (refused, loaded) = (Some(*errno), bare);
        }
    }
    let (fd, map_refs) = loaded.or_else(|errno| request.explain(errno))?;
    Ok(Prog::from_load(fd, map_refs, refused))
}

/// The maps must be those that the program declares, or its accesses mean something else; and
/// it must name none beyond them, or the kernel would read beyond `fd_array`.
fn check_maps(program: &Program, maps: &[&Map]) -> Result<()> {
    let wanted = program.maps();
    let named = program.lines().iter().filter_map(|line| Some(line.insn.map()?.get() as usize + 1));
    let count = named.chain([wanted.len(), maps.len()]).max().unwrap_or(0);
    for index in 0..count {
        let fits = match (wanted.get(index), maps.get(index)) {
            (Some(decl), Some(map)) => map.matches(decl),
            _ => false,
        };
        if !fits {
            let wanted = wanted.get(index).map_or("no such map".into(), |decl| format!("{decl:?}"));
            return Err(Error::ProgramMaps { program: program.name().into(), index, wanted });
        }
    }
    Ok(())
}

/// What is asked of the kernel when a program is loaded.
struct Request<'a> {
    program: &'a Program,
    insns: Vec<u8>,
    /// Descriptors of the maps. The kernel reads it at the indices in the instructions, which
    /// `check_maps` has found to be within it.
    fd_array: Vec<u32>,
    map_refs: MapRefs,
    btf: Option<&'a Btf>,
}

impl<'a> Request<'a> {
    fn new(program: &'a Program, maps: &[&Map], btf: Option<&'a Btf>) -> Self {
        let insns = program.bytes(ByteOrder::NATIVE);
        let fd_array = maps.iter().map(raw).collect();
        Self { program, insns, fd_array, map_refs: MapRefs::Index, btf }
    }

    /// Loads with maps by index, or else patched; leaves it patched then.
    fn submit_either_way(&mut self) -> nix::Result<(OwnedFd, MapRefs)> {
        let mut loaded = self.submit(&mut []);
        // Before 5.14: E2BIG, since we pass more than its attribute has. EINVAL where its
        // attribute is as long, but for another command.
        if matches!(loaded, Err(Errno::E2BIG | Errno::EINVAL)) && !self.fd_array.is_empty() {
            self.patch();
            loaded = self.submit(&mut []);
        }
        loaded.map(|fd| (fd, self.map_refs))
    }

    /// Loads; the log, if `log` is not empty, ends with a NUL.
    fn submit(&self, log: &mut [u8]) -> nix::Result<OwnedFd> {
        let mut attr = LoadAttr {
            prog_type: self.program.hook().prog_type(),
            insn_cnt: (self.insns.len() / SLOT) as u32,
            insns: addr(&self.insns),
            license: addr(LICENSE.to_bytes_with_nul()),
            log_level: u32::from(!log.is_empty()),
            log_size: log.len() as u32,
            log_buf: if log.is_empty() { 0 } else { addr_mut(log) },
            prog_flags: self.program.hook().prog_flags(),
            prog_name: obj_name(&self.program.symbol()),
            fd_array: if self.fd_array.is_empty() { 0 } else { addr(&self.fd_array) },
            ..LoadAttr::default()
        };
        if let Some(btf) = self.btf {
            attr.prog_btf_fd = raw(btf);
            attr.func_info_rec_size = FUNC_INFO_SIZE;
            attr.func_info = addr(&btf.func_info);
            attr.func_info_cnt = btf.func_info.len() as u32 / FUNC_INFO_SIZE;
            attr.line_info_rec_size = LINE_INFO_SIZE;
            attr.line_info = addr(&btf.line_info);
            attr.line_info_cnt = btf.line_info.len() as u32 / LINE_INFO_SIZE;
        }
        let mut loaded = bpf_fd_charged(Cmd::PROG_LOAD, &mut attr);
        for _ in 1..LOAD_TRIES {
            if !matches!(loaded, Err(Errno::EAGAIN)) {
                break;
            }
            loaded = bpf_fd_charged(Cmd::PROG_LOAD, &mut attr);
        }
        loaded
    }

    /// Names the maps by descriptor in the instructions, instead of by index.
    fn patch(&mut self) {
        self.insns.clear();
        for line in self.program.lines() {
            let insn = match line.insn {
                Insn::LoadMap { dst, map } => {
                    // `check_maps` has seen a descriptor for each map; the verifier refuses -1.
                    let fd = self.fd_array.get(map.get() as usize);
                    Insn::LoadMapFd { dst, fd: fd.map_or(-1, |fd| *fd as i32) }
                }
                other => other,
            };
            insn.encode(ByteOrder::NATIVE, &mut self.insns);
        }
        self.fd_array.clear();
        self.map_refs = MapRefs::Patched;
    }

    /// Loads again with a log, larger until it fits. An empty log means that the refusal was not
    /// the verifier's.
    fn explain(&self, refused: Errno) -> Result<(OwnedFd, MapRefs)> {
        let mut size = LOG_SIZE;
        loop {
            let mut log = vec![0; size];
            match self.submit(&mut log) {
                // What was wrong before has passed.
                Ok(fd) => return Ok((fd, self.map_refs)),
                Err(Errno::ENOSPC) if size < LOG_SIZE_MAX => size = (size * 4).min(LOG_SIZE_MAX),
                Err(_) => return Err(self.refusal(refused, &log)),
            }
        }
    }

    fn refusal(&self, errno: Errno, log: &[u8]) -> Error {
        let len = log.iter().position(|b| *b == 0).unwrap_or(log.len());
        let log = String::from_utf8_lossy(&log[..len]).into_owned();
        let program = self.program.name().to_string();
        if log.is_empty() {
            return Cmd::PROG_LOAD.failed_charged(program)(errno);
        }
        Error::Verifier { program, errno, log }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::privileged;
    use xhop_asm::{Assembler, MapDecl, MapKind, R0, R1, R2, R3, xdp};

    fn reads_map() -> Program {
        let mut asm = Assembler::new("reads/map");
        let decl = |name| MapDecl {
            name,
            kind: MapKind::Hash,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            flags: 0,
        };
        let (first, second) = (asm.map(decl("first")), asm.map(decl("second")));
        asm.load_imm64(R2, 5, "a wide immediate that is no map");
        asm.load_map(R1, second, "second");
        asm.load_map(R1, first, "first");
        asm.mov(R0, xdp::DROP, "verdict");
        asm.exit("done");
        asm.finish().expect("assembles")
    }

    fn maps_of(program: &Program) -> Vec<Map> {
        program.maps().iter().map(|decl| Map::create(decl).expect("create")).collect()
    }

    #[test]
    fn maps_by_index_and_patched() {
        if !privileged("load::maps_by_index_and_patched") {
            return;
        }
        let program = reads_map();
        let maps = maps_of(&program);
        let refs: Vec<_> = maps.iter().collect();
        let mut ids: Vec<_> = maps.iter().map(|map| map.info().id).collect();
        ids.sort();
        let sorted = |prog: &Prog| {
            let mut ids = prog.info().expect("info").map_ids;
            ids.sort();
            ids
        };
        let prog = Prog::load_any(&program, &refs).expect("loads");
        assert_eq!(sorted(&prog), ids);
        let old = crate::sys::kernel::release().expect("uname") < (5, 14);
        assert_eq!(prog.map_refs() == Some(MapRefs::Patched), old);

        // What an old kernel gets loads on a new one too.
        let mut request = Request::new(&program, &refs, None);
        request.patch();
        assert!(request.fd_array.is_empty());
        let fd = request.submit(&mut []).expect("loads");
        assert_eq!(sorted(&Prog::from_load(fd, MapRefs::Patched, None)), ids);
    }

    #[test]
    fn foreign_maps_are_refused() {
        if !privileged("load::foreign_maps_are_refused") {
            return;
        }
        let program = reads_map();
        let maps = maps_of(&program);
        let load = |maps: &[&Map]| Prog::load_any(&program, maps);
        assert!(matches!(load(&[&maps[0]]), Err(Error::ProgramMaps { index: 1, .. })));
        let wide = Map::create(&MapDecl { value_size: 8, ..program.maps()[0].clone() });
        let wide = wide.expect("create");
        assert!(matches!(load(&[&wide, &maps[1]]), Err(Error::ProgramMaps { index: 0, .. })));

        // An index that came from another program.
        let mut asm = Assembler::new("stray");
        let stray = program.lines().iter().find(|line| matches!(line.insn, Insn::LoadMap { .. }));
        asm.emit(stray.expect("has one").insn, "a map of another program");
        let stray = asm.finish().expect("assembles");
        let error = Prog::load_any(&stray, &[]).expect_err("no maps");
        assert!(matches!(error, Error::ProgramMaps { index: 0, .. }), "{error}");
    }

    #[test]
    fn comments_go_along() {
        if !privileged("load::comments_go_along") {
            return;
        }
        for shipped in Shipped::ALL {
            let program = shipped.program().expect("assembles");
            let maps = maps_of(&program);
            let prog = Prog::load(shipped, &maps.iter().collect::<Vec<_>>()).expect("loads");
            assert_eq!(prog.btf_refused(), None, "{}", shipped.name());
            let info = prog.info().expect("info");
            assert_eq!(info.line_infos as usize, program.lines().len(), "{}", shipped.name());
        }
    }

    #[test]
    fn without_btf_it_loads_bare() {
        if !privileged("load::without_btf_it_loads_bare") {
            return;
        }
        let program = reads_map();
        let maps = maps_of(&program);
        let refs: Vec<_> = maps.iter().collect();
        let load = |btf| load_with(&program, &refs, btf).expect("loads");
        let by_index = load(Btf::load(&program)).map_refs();
        // A kernel without the command; one that takes the BTF, but not what refers to it.
        let mut stray = Btf::load(&program).expect("loads");
        stray.line_info[..4].fill(1);
        for (btf, errno) in [(Err(Errno::ENOSYS), Errno::ENOSYS), (Ok(stray), Errno::EINVAL)] {
            let prog = load(btf);
            assert_eq!(prog.btf_refused(), Some(errno));
            assert_eq!(prog.info().expect("info").line_infos, 0);
            assert_eq!(prog.map_refs(), by_index, "the very bytes nevertheless");
        }
    }

    #[test]
    fn the_log_shows_comments_and_sources() {
        if !privileged("load::the_log_shows_comments_and_sources") {
            return;
        }
        let mut asm = Assembler::new("bad+reads");
        asm.mov(R1, 0, "forgets the context");
        asm.load_imm64(R3, 7, "a wide one");
        let wrong = line!() + 1;
        asm.mov(R0, R2, "reads what was never written");
        asm.exit("done");
        let program = asm.finish().expect("assembles");
        let error = Prog::load_any(&program, &[]).expect_err("refused").to_string();
        for line in &program.lines()[..3] {
            assert!(error.contains(&format!("; {}", line.comment)), "{}: {error}", line.comment);
        }
        assert!(error.contains("R2 !read_ok"), "{error}");
        // Since 6.10 with the place, of the file only its own name.
        if crate::sys::kernel::release().expect("uname") >= (6, 10) {
            let place = format!("; reads what was never written @ load.rs:{wrong}");
            assert!(error.contains(&place), "{error}");
        }
    }

    #[test]
    fn the_log_is_whole() {
        if !privileged("load::the_log_is_whole") {
            return;
        }
        // Long enough that the first buffer can't hold the log; r2 is not initialised.
        let mut asm = Assembler::new("long");
        for n in 0..6000 {
            asm.mov(R0, n, "a line of the log");
        }
        asm.mov(R0, R2, "reads nothing");
        asm.exit("done");
        let program = asm.finish().expect("assembles");
        let error = Prog::load_any(&program, &[]).expect_err("refused");
        assert_eq!(error.errno(), Some(Errno::EACCES));
        let shown = error.to_string();
        assert!(shown.len() > LOG_SIZE, "{} bytes", shown.len());
        for n in 0..6000 {
            assert!(shown.contains(&format!("\n{n}: ")), "line {n} is missing");
        }
        assert!(shown.lines().next().is_some_and(|line| line.contains("program long")));
        assert!(shown.contains("R2 !read_ok"), "{}", &shown[shown.len() - 300..]);
    }
}
