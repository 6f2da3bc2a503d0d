//! Behaviour tests: crates through their public API, and the built program as a user starts it.

mod azurite_fetch;
mod azurite_growth;
mod bad_input;
mod commands;
mod decoding;
mod doctor;
mod growth;
mod parts;
mod verify;
