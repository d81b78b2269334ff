//! Containers: a name in, interfaces and addresses out. Nothing is changed here.

mod docker;
mod find;
#[cfg(test)]
mod fuzz;
mod host;
mod interface;
mod json;
mod known;
mod lxc;
mod name;
mod namespaces;
mod nspawn;
mod podman;
mod running;

pub use docker::Events;
pub use find::{
    Attachment, Bridge, Container, attachment_at, behind, bridge_named, find, interface_named,
    ports,
};
pub use interface::{Interface, Mac};
pub use name::Name;
pub use namespaces::Namespaces;
