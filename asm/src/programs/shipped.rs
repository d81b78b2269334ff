//! The list of all programs. The loader takes a name from it and nothing else, so what is not here
//! can't reach a kernel.

use super::{
    Captured, Checksum, Method, back_in, bounce, capture, captured, chain, chain_in, count,
    forward, forward_frags, measure, next, next_back, pass, peer, trust,
};
use crate::error::Error;
use crate::program::Program;

/// A program in one configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Shipped {
    /// [`pass()`]
    Pass,
    /// [`forward()`]
    Forward(Checksum),
    /// [`forward_frags()`]
    ForwardFrags,
    /// [`peer()`]
    Peer,
    /// [`captured()`]
    Captured(Captured),
    /// [`trust()`]
    Trust,
    /// [`chain_in()`]
    ChainIn,
    /// [`next()`]
    Next,
    /// [`next_back()`]
    NextBack,
    /// [`back_in()`]
    BackIn,
    /// [`bounce()`]
    Bounce,
    /// [`count()`]
    Count,
    /// [`measure()`]
    Measure(Method),
}

impl Shipped {
    /// Every one there is.
    pub const ALL: [Self; 21] = [
        Self::Pass,
        Self::Forward(Checksum::Keep),
        Self::Forward(Checksum::Complete),
        Self::ForwardFrags,
        Self::Peer,
        Self::Captured(Captured::Forward(Checksum::Keep)),
        Self::Captured(Captured::Forward(Checksum::Complete)),
        Self::Captured(Captured::ForwardFrags),
        Self::Captured(Captured::Peer),
        Self::Trust,
        Self::ChainIn,
        Self::Next,
        Self::NextBack,
        Self::BackIn,
        Self::Bounce,
        Self::Count,
        Self::Measure(Method::Empty),
        Self::Measure(Method::Complete),
        Self::Measure(Method::ReportLoop),
        Self::Measure(Method::CsumDiff),
        Self::Measure(Method::OneCall),
    ];

    /// Its name with its configuration, which is its [`Program::name`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Forward(Checksum::Keep) => "forward",
            Self::Forward(Checksum::Complete) => "forward+complete",
            Self::ForwardFrags => "forward+frags",
            Self::Peer => "peer",
            Self::Captured(Captured::Forward(Checksum::Keep)) => "forward+capture",
            Self::Captured(Captured::Forward(Checksum::Complete)) => "forward+complete+capture",
            Self::Captured(Captured::ForwardFrags) => "forward+frags+capture",
            Self::Captured(Captured::Peer) => "peer+capture",
            Self::Trust => "trust",
            Self::ChainIn => "chain-in",
            Self::Next => "next",
            Self::NextBack => "next+back",
            Self::BackIn => "back-in",
            Self::Bounce => "bounce",
            Self::Count => "count",
            Self::Measure(Method::Empty) => "measure+empty",
            Self::Measure(Method::Complete) => "measure+complete",
            Self::Measure(Method::ReportLoop) => "measure+report-loop",
            Self::Measure(Method::CsumDiff) => "measure+csum-diff",
            Self::Measure(Method::OneCall) => "measure+one-call",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shipped| shipped.name() == name)
    }

    /// The same program that tells of each packet; `None` if there is none.
    pub const fn captured(self) -> Option<Self> {
        match self {
            Self::Forward(checksum) => Some(Self::Captured(Captured::Forward(checksum))),
            Self::ForwardFrags => Some(Self::Captured(Captured::ForwardFrags)),
            Self::Peer => Some(Self::Captured(Captured::Peer)),
            _ => None,
        }
    }

    /// What it does, in paragraphs of one or more lines.
    pub const fn about(self) -> &'static [&'static str] {
        match self {
            Self::Pass => &[pass::ABOUT],
            Self::Forward(Checksum::Keep) => &[forward::ABOUT, forward::KEEP],
            Self::Forward(Checksum::Complete) => &[forward::ABOUT, forward::COMPLETE],
            Self::ForwardFrags => &[forward::ABOUT, forward::KEEP, forward::FRAGS],
            Self::Peer => &[peer::ABOUT],
            Self::Captured(Captured::Forward(Checksum::Keep)) => {
                &[forward::ABOUT, forward::KEEP, capture::ABOUT]
            }
            Self::Captured(Captured::Forward(Checksum::Complete)) => {
                &[forward::ABOUT, forward::COMPLETE, capture::ABOUT]
            }
            Self::Captured(Captured::ForwardFrags) => {
                &[forward::ABOUT, forward::KEEP, forward::FRAGS, capture::ABOUT]
            }
            Self::Captured(Captured::Peer) => &[peer::ABOUT, capture::ABOUT],
            Self::Trust => &[trust::ABOUT],
            Self::ChainIn => &[chain::IN],
            Self::Next => &[chain::NEXT],
            Self::NextBack => &[chain::NEXT, chain::NEXT_BACK],
            Self::BackIn => &[chain::BACK_IN],
            Self::Bounce => &[bounce::ABOUT],
            Self::Count => &[count::ABOUT],
            Self::Measure(Method::Empty) => &[measure::ABOUT, measure::EMPTY],
            Self::Measure(Method::Complete) => &[measure::ABOUT, measure::COMPLETE],
            Self::Measure(Method::ReportLoop) => &[measure::ABOUT, measure::REPORT_LOOP],
            Self::Measure(Method::CsumDiff) => &[measure::ABOUT, measure::CSUM_DIFF],
            Self::Measure(Method::OneCall) => &[measure::ABOUT, measure::ONE_CALL],
        }
    }

    /// What each register holds, one a line.
    pub const fn contract(self) -> &'static str {
        match self {
            Self::Pass => pass::CONTRACT,
            Self::Forward(_) | Self::ForwardFrags => forward::CONTRACT,
            Self::Peer => peer::CONTRACT,
            Self::Captured(Captured::Peer) => capture::PEER_CONTRACT,
            Self::Captured(_) => capture::FORWARD_CONTRACT,
            Self::Trust => trust::CONTRACT,
            Self::ChainIn | Self::Next | Self::NextBack | Self::BackIn => chain::CONTRACT,
            Self::Bounce => bounce::CONTRACT,
            Self::Count => count::CONTRACT,
            Self::Measure(_) => measure::CONTRACT,
        }
    }

    /// Its instructions. An error is a fault of the generator.
    pub fn program(self) -> Result<Program, Error> {
        match self {
            Self::Pass => pass(),
            Self::Forward(checksum) => forward(checksum),
            Self::ForwardFrags => forward_frags(),
            Self::Peer => peer(),
            Self::Captured(what) => captured(what),
            Self::Trust => trust(),
            Self::ChainIn => chain_in(),
            Self::Next => next(),
            Self::NextBack => next_back(),
            Self::BackIn => back_in(),
            Self::Bounce => bounce(),
            Self::Count => count(),
            Self::Measure(method) => measure(method),
        }
    }
}
