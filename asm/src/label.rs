//! Jump targets as owned values.

/// A place in the program that is not yet known. Jumps borrow it, [`bind`](crate::Assembler::bind)
/// consumes it: it can't be bound twice, and can't be made outside an assembler.
#[derive(Debug)]
#[must_use = "a label that is never bound is an error"]
pub struct Label(pub(crate) usize);

/// A label that has its place: a target for jumps back.
#[derive(Debug)]
pub struct Bound(pub(crate) usize);

/// What can be jumped to.
pub trait Target {
    /// The label's number in its assembler.
    #[doc(hidden)]
    fn id(&self) -> usize;
}

impl Target for Label {
    fn id(&self) -> usize {
        self.0
    }
}

impl Target for Bound {
    fn id(&self) -> usize {
        self.0
    }
}
