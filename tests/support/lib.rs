//! What tests share: a real Storage Account emulator, the built program, and scratch directories.

pub mod azurite;
pub mod program;
