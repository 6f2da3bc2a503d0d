//! What tests share: a real Storage Account emulator, the built program, an archive in a directory, a
//! look into lakes, and randomness.

pub mod azurite;
pub mod contents;
pub mod local_archive;
pub mod program;
pub mod random;
