//! Runs programs in userspace, on the very bytes that the kernel gets.
//!
//! A [`Vm`] takes an [`xhop_asm::Program`], gives it a real `xdp_md`, maps and the kernel's
//! helpers, and runs it in `rbpf`. No root, no kernel, and an access outside the packet is an
//! error that names the instruction. [`packet`] makes frames to run it on, [`pcap`] reads them from
//! captures; [`Vm::trace`] tells what each instruction did.
//!
//! ```
//! use xhop_vm::{Vm, packet::tcp};
//!
//! let program = xhop_asm::programs::pass()?;
//! let vm = Vm::new(&program)?;
//! let outcome = vm.run(&tcp().payload(b"hello").bytes(), 1)?;
//! assert_eq!(outcome.action(), "XDP_PASS");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

mod buffer;
mod compute;
mod error;
mod helpers;
mod map;
#[allow(unsafe_code)]
mod memory;
mod state;
mod step;
mod trace;
mod verifier;
mod vm;

pub mod joined;
pub mod packet;
pub mod pcap;
pub mod wire;

pub use error::{Error, Place};
pub use map::Map;
pub use trace::Step;
pub use vm::{Outcome, Vm};
