//! Containers: a name in, interfaces and addresses out. Nothing is changed here.

pub mod docker;
mod find;
mod interface;
mod name;
mod namespaces;

pub use find::{Attachment, Bridge, Container, attachment_at, behind, bridge_named, find, ports};
pub use interface::{Interface, Mac};
pub use name::Name;
pub use namespaces::Namespaces;
