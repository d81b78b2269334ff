//! The programs that this project can load. Each file states its register contract first.

mod bounce;
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
pub use chain::{chain_in, next};
pub use count::count;
pub use forward::{Checksum, forward, forward_frags};
pub use measure::{Method, measure};
pub use pass::pass;
pub use peer::peer;
pub use shipped::Shipped;
pub use trust::trust;
