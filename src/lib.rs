//! xhop joins containers on one Linux host directly, with hand-assembled BPF programs.
//!
//! Dependencies run one way: [`cmd`] asks [`plan`] what to do for the [`container`]s it names, and
//! `plan` does it through [`sys`], the seams to the kernel: all system calls and all `unsafe`. [`audit`]
//! looks at what `plan` has done.

#![deny(unsafe_code)]

pub mod audit;
pub mod cli;
pub mod cmd;
pub mod container;
pub mod error;
pub mod plan;
mod shell;
#[allow(unsafe_code)]
pub mod sys;
mod table;

pub use error::{Error, Result};
