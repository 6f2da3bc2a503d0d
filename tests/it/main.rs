//! Behaviour tests: crates through their public API, and the built program as a user starts it.

mod attribution;
mod azurite_fetch;
mod azurite_growth;
mod bad_input;
mod commands;
mod decoding;
mod disks;
mod doctor;
mod faults;
mod growth;
mod kills;
mod listing;
mod materialized;
mod oauth;
mod parts;
mod planning;
mod races;
mod schedules;
mod signals;
mod status;
mod verify;
