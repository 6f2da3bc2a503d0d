//! What tests share: a real Storage Account emulator, a server that makes it fail, the built
//! program, and scratch directories.

pub mod azurite;
pub mod fault_proxy;
mod http;
pub mod program;
