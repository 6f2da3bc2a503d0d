//! What tests share: a real Storage Account emulator, a token endpoint, the built program, and scratch directories.

pub mod authority;
pub mod azurite;
pub mod certificates;
pub mod program;
