//! Named tenants: the one that attribution is made for, and those that make it hard.

use serde::Serialize;

use crate::Options;

/// What is special about a tenant. By default nothing is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Habits {
    /// Whether the addresses of all callers are logged; by default those of some workloads are not.
    pub all_addresses: bool,
    /// Whether everybody in the tenant calls from one network.
    pub one_network: bool,
    /// Whether one principal lists the keys of all accounts and puts them into a vault, where everybody
    /// else reads them, which no log shows.
    pub vault: bool,
    /// Whether everybody mostly calls two deployments of an account.
    pub own_deployments: bool,
    /// Hours after the first call until the Activity Log, audit and sign-in logs begin.
    pub silent_hours: u32,
    /// How often a day a principal that never calls lists the keys of every account.
    pub scans_per_day: u32,
}

/// A tenant with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// People who share offices and travel now and then; a few keys have leaked.
    Offices,
    /// As `Offices`, but everybody comes from one network.
    Nat,
    /// As `Offices`, but one principal lists the keys, and all others read them in a vault.
    KeyVault,
    /// As `Offices`, but people are away for more than half of the time.
    Roaming,
    /// As `Offices`, but the Activity Log and the sign-ins begin three days after the first call.
    LateActivity,
    /// As `Offices`, but a tool lists the keys of every account 300 times a day.
    Automation,
    /// As `Offices`, but two tenants are in one archive.
    TwoTenants,
}

impl Scenario {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Offices,
        Self::Nat,
        Self::KeyVault,
        Self::Roaming,
        Self::LateActivity,
        Self::Automation,
        Self::TwoTenants,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offices => "offices",
            Self::Nat => "nat",
            Self::KeyVault => "key-vault",
            Self::Roaming => "roaming",
            Self::LateActivity => "late-activity",
            Self::Automation => "automation",
            Self::TwoTenants => "two-tenants",
        }
    }

    /// What it is, in a sentence.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Offices => "12 accounts, 150 principals in shared offices, 5 % roaming, 2 % by strangers",
            Self::Nat => "the same, but everybody comes from one network",
            Self::KeyVault => "the same, but one principal lists all keys, and the others read them in a vault",
            Self::Roaming => "the same, but people are away for 60 % of the time",
            Self::LateActivity => "the same, but the Activity Log begins three days after the calls",
            Self::Automation => "the same, but a tool lists the keys of every account 300 times a day",
            Self::TwoTenants => "the same, but two tenants share the archive",
        }
    }

    /// Its options: a week with 100,000 calls.
    pub fn options(self) -> Options {
        let offices = Options {
            account_count: 12,
            principal_count: 150,
            hour_count: 168,
            call_count: 100_000,
            lead_hours: 168,
            stranger_share: 0.02,
            habits: Habits { all_addresses: true, own_deployments: true, ..Habits::default() },
            ..Options::default()
        };
        let with = |habits: Habits| Options { habits, ..offices.clone() };
        match self {
            Self::Nat => with(Habits { one_network: true, ..offices.habits }),
            Self::KeyVault => with(Habits { vault: true, ..offices.habits }),
            Self::LateActivity => with(Habits { silent_hours: 72, ..offices.habits }),
            Self::Automation => with(Habits { scans_per_day: 300, ..offices.habits }),
            Self::Roaming => Options { roaming_share: 0.6, ..offices },
            Self::TwoTenants => Options { tenant_count: 2, ..offices },
            Self::Offices => offices,
        }
    }
}
