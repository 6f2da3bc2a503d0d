//! How everything that happens is written into records, by category.

pub(crate) mod activity;
pub(crate) mod call;
pub(crate) mod json;
pub(crate) mod side;
pub(crate) mod sign_in;
