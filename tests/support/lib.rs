//! What tests share: a real Storage Account emulator, a server that makes it fail, a token endpoint, the built program, an
//! archive in a directory, a look into lakes, schemas, and randomness.

pub mod authority;
pub mod azurite;
pub mod certificates;
pub mod contents;
pub mod fault_proxy;
mod http;
pub mod local_archive;
pub mod program;
pub mod random;
pub mod schemas;
