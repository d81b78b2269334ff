//! The programs that this project can load. Each file states its register contract first.

mod bounce;
mod capture;
mod chain;
mod count;
mod exits;
mod forward;
mod measure;
mod pass;
mod peer;
mod shipped;
mod trust;

pub use bounce::bounce;
pub use capture::{Captured, captured};
pub use chain::{back_in, chain_in, next, next_back};
pub use count::count;
pub use forward::{Checksum, forward, forward_frags};
pub use measure::{Method, measure};
pub use pass::pass;
pub use peer::peer;
pub use shipped::Shipped;
pub use trust::trust;
