//! `measure`, which [`ABOUT`] and [`CONTRACT`] describe.

use super::Shipped;
use crate::assembler::Assembler;
use crate::blocks::report_loop::report_loop;
use crate::blocks::{END, Family, PKT, checksum, csum_diff, parse};
use crate::error::Error;
use crate::net::{eth, ipv4, proto, tcp};
use crate::program::Program;
use crate::reg::{FP, Pointer, R0, R2, R9};
use crate::xdp;

/// What it does.
pub(super) const ABOUT: &str = "\
A checksum routine alone, to be timed by BPF_PROG_TEST_RUN and compared with others. It leaves the
packet as it was, so that it can run a million times on one, and returns the checksum as its
verdict, so that a routine that is fast and wrong is caught. Never attached.";

/// What it does with [`Method::Empty`].
pub(super) const EMPTY: &str =
    "This one sums nothing: what a program costs that only finds the packet.";

/// What it does with [`Method::Complete`].
pub(super) const COMPLETE: &str = "This one sums as `forward+complete` does.";

/// What it does with [`Method::ReportLoop`].
pub(super) const REPORT_LOOP: &str = "This one sums as the report does: two bytes at a time.";

/// What it does with [`Method::CsumDiff`].
pub(super) const CSUM_DIFF: &str = "This one does all as `measure+complete` does, but for the sum: that is by calls of `bpf_csum_diff`.";

/// What it does with [`Method::OneCall`].
pub(super) const ONE_CALL: &str = "\
This one takes segments of 1460 bytes alone, and sums them by one call of `bpf_csum_diff`: the
kernel's own code for the same bytes, and nothing around it. Kernels before 6.13 refuse so many bytes: there it returns
0xffffffea, which is -EINVAL in 32 bits.";

/// Its registers.
pub(super) const CONTRACT: &str = "\
r0-r5  free for all; at the end r0 is the checksum in network order as a native number, or
       XDP_ABORTED for what is no TCP segment in a plain IPv4 frame
r6     the packet
r7     its end
r8     free for all
r9     the ingress interface, which nobody asks for; then free for all";

/// Where a plain TCP segment over IPv4 has its checksum.
const CHECK: i16 = eth::LEN + ipv4::LEN + tcp::CHECK;

/// Which routine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// None: what a program costs that only finds the packet.
    Empty,
    /// [`checksum::complete`], with the store.
    Complete,
    /// [`report_loop`].
    ReportLoop,
    /// [`csum_diff::sum`], with all that is around the sum in [`Method::Complete`].
    CsumDiff,
    /// [`csum_diff::one_call`] of [`Method::ONE_CALL`] bytes: the limit.
    OneCall,
}

impl Method {
    /// The length of the segments that [`Method::OneCall`] sums.
    pub const ONE_CALL: u16 = 1460;
    /// What [`Method::OneCall`] returns where the kernel refuses so many bytes: `-EINVAL`.
    pub const REFUSED: i32 = -22;
}

/// The program: for a TCP segment in a plain IPv4 frame its checksum in network order as a native
/// number; `XDP_ABORTED` for any frame that is none.
pub fn measure(method: Method) -> Result<Program, Error> {
    let mut asm = Assembler::new(Shipped::Measure(method).name());
    let other = asm.label("other");
    parse::context(&mut asm, R9);
    asm.mov(R2, PKT, "the packet");
    asm.add(R2, i32::from(CHECK + 2), "Ethernet, IPv4, TCP up to its checksum");
    asm.jump_if(R2.gt(END), &other, "too short");
    asm.load(R2, PKT.u16(eth::TYPE), "EtherType");
    asm.be16(R2, "in host order");
    asm.jump_if(R2.ne(eth::IPV4), &other, "not IPv4");
    asm.load(R2, PKT.u8(eth::LEN + ipv4::VERSION_IHL), "version and header length");
    asm.jump_if(R2.ne(ipv4::PLAIN), &other, "with options");
    asm.load(R2, PKT.u8(eth::LEN + ipv4::PROTOCOL), "protocol");
    asm.jump_if(R2.ne(proto::TCP), &other, "not TCP");
    match method {
        Method::Empty => asm.mov(R0, 0, "nothing is computed"),
        Method::Complete | Method::CsumDiff => {
            asm.load(R2, PKT.u16(CHECK), "the checksum as it stands");
            asm.store(FP.u64(-24), R2, "is kept");
            checksum::pseudo_header(&mut asm, Family::V4, &other);
            match method {
                Method::CsumDiff => checksum::complete_by(&mut asm, &other, csum_diff::sum),
                _ => checksum::complete(&mut asm, &other),
            }
            asm.load(R0, PKT.u16(CHECK), "the checksum as it should be");
            asm.load(R2, FP.u64(-24), "what was kept");
            asm.store(PKT.u16(CHECK), R2, "is put back: the next run finds the same packet");
        }
        Method::ReportLoop => {
            asm.load(R2, PKT.u16(eth::LEN + ipv4::TOTAL_LENGTH), "total length");
            asm.be16(R2, "in host order");
            asm.sub(R2, i32::from(ipv4::LEN), "the segment's length");
            report_loop(&mut asm);
        }
        Method::OneCall => {
            let len = i32::from(Method::ONE_CALL);
            let refused = asm.label("refused");
            asm.load(R2, PKT.u16(eth::LEN + ipv4::TOTAL_LENGTH), "total length");
            asm.be16(R2, "in host order");
            asm.jump_if(R2.ne(i32::from(ipv4::LEN) + len), &other, "another length");
            csum_diff::one_call(&mut asm, len, &other);
            asm.jump_if(R0.gt(0xffff), &refused, "no sum: a kernel before 6.13");
            asm.xor(R0, 0xffff, "complement");
            asm.exit("the checksum");
            asm.bind(refused);
            asm.mov32(R0, Method::REFUSED, "-EINVAL");
        }
    }
    asm.exit("the checksum");
    asm.bind(other);
    asm.mov(R0, xdp::ABORTED, "not for us");
    asm.exit("done");
    asm.finish()
}
