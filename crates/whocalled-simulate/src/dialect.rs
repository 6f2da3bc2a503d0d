//! How an account's calls are spelled: the variants of RequestResponse records since 2018, spread
//! over accounts and blobs, so that an archive of eight accounts shows them all.

use crate::{
    archive::Layout,
    dice::{Dice, Purpose},
    options::{Options, millionths},
    records::json::Spacing,
    text::TimeForm,
};

/// The spelling of an account's records in one blob.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    pub(crate) layout: Layout,
    pub(crate) spacing: Spacing,
    /// `properties` is an object, instead of the text of one.
    pub(crate) properties_as_object: bool,
    pub(crate) address_key: &'static str,
    pub(crate) enqueue_time: bool,
    pub(crate) time_form: TimeForm,
    pub(crate) duration_as_text: bool,
    pub(crate) resource_id_upper: bool,
    pub(crate) identity: Identity,
    /// Scalar token counts, since 2026.
    pub(crate) tokens: bool,
    /// Two records a call, one of them nearly empty, since 2026.
    pub(crate) split: bool,
}

/// Which field names the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    ObjectId,
    /// Its name since 2026.
    CallerObjectId,
    Both,
}

impl Identity {
    pub(crate) const fn has_object_id(self) -> bool {
        matches!(self, Self::ObjectId | Self::Both)
    }

    pub(crate) const fn has_caller_object_id(self) -> bool {
        matches!(self, Self::CallerObjectId | Self::Both)
    }
}

impl Dialect {
    /// The dialect of an account's blob of an hour, counted from the first with calls.
    pub(crate) fn new(options: &Options, account: usize, hour: u32) -> Self {
        let mut dice = Dice::new(options.seed, Purpose::Dialect, account as u64, u64::from(hour));
        let wrapper = is_wrapped(options, account);
        let indented = wrapper && hour % 2 == 1;
        let plain = Self {
            layout: Layout {
                wrapper,
                indented,
                carriage_returns: false,
                byte_order_mark: account == 0 && hour == 1 && !options.plain,
            },
            spacing: Spacing::Spaced,
            properties_as_object: dice.chance(0.1),
            address_key: "callerIpAddress",
            enqueue_time: true,
            time_form: TimeForm::Seven,
            duration_as_text: false,
            resource_id_upper: true,
            identity: Identity::ObjectId,
            tokens: false,
            split: false,
        };
        if options.plain {
            let address_key = if matches!(account % 8, 1 | 7) { "callerIPAddress" } else { plain.address_key };
            return Self { address_key, ..plain };
        }
        if wrapper {
            let spacing = if indented { Spacing::Indented } else { Spacing::Compact };
            return Self { spacing, properties_as_object: true, enqueue_time: false, ..plain };
        }
        let crlf = Layout { carriage_returns: true, ..plain.layout };
        let modern = Self { identity: Identity::CallerObjectId, tokens: true, ..plain };
        match account % 8 {
            1 => Self { layout: crlf, spacing: Spacing::Compact, address_key: "callerIPAddress", ..modern },
            2 => Self { split: true, resource_id_upper: false, ..modern },
            3 => Self { time_form: TimeForm::Three, duration_as_text: true, ..plain },
            4 => Self { time_form: TimeForm::SixOffset, enqueue_time: false, ..plain },
            5 => Self { identity: Identity::Both, time_form: TimeForm::Nine, layout: crlf, ..modern },
            6 => Self { spacing: Spacing::Compact, time_form: TimeForm::SevenBare, ..plain },
            7 => Self { address_key: "callerIPAddress", duration_as_text: true, ..plain },
            _ => plain,
        }
    }
}

/// The last accounts, which are called least, are those with the old wrapper; never the first.
fn is_wrapped(options: &Options, account: usize) -> bool {
    let wrapped = (options.account_count as u64 * millionths(options.legacy_wrapper_share)).div_ceil(1_000_000);
    !options.plain && account > 0 && (options.account_count - account) as u64 <= wrapped
}

/// Whether an account also logs the tokens of every call, in a category of its own.
pub(crate) const fn logs_usage(account: usize) -> bool {
    account % 4 == 1
}
