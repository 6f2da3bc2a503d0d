//! Who and where: tenants, subscriptions, accounts, principals and the networks they call from.
//!
//! No address is a real one: homes are in 100.64.0.0/10, offices in 198.18.0.0/16, workloads in
//! 198.19.0.0/16 and strangers in the three networks reserved for documentation.

use crate::{
    dice::{Dice, Purpose},
    options::Options,
    text::{Address, Guid, HOUR, Ticks},
};

/// What the simulated organisation consists of.
pub(crate) struct Tenant {
    pub(crate) tenant_ids: Vec<String>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) accounts: Vec<Account>,
    pub(crate) principals: Vec<Principal>,
    pub(crate) gateway: Option<Gateway>,
    offices: Vec<Place>,
    roaming: Vec<Place>,
    pub(crate) strangers: Vec<Place>,
    seed: u64,
    start: Ticks,
    roaming_share: f64,
}

pub(crate) struct Subscription {
    pub(crate) id: Guid,
    pub(crate) tenant: usize,
}

/// An Azure OpenAI account.
pub(crate) struct Account {
    /// Its resource id, in the mixed case of the portal.
    pub(crate) id: String,
    pub(crate) id_upper: String,
    pub(crate) id_lower: String,
    pub(crate) region: &'static str,
    pub(crate) subscription: usize,
    pub(crate) tenant: usize,
    pub(crate) asset_id: Guid,
    pub(crate) deployments: Vec<&'static Deployment>,
    /// Its share of all calls, relative to other accounts.
    pub(crate) weight: u64,
}

/// A deployment of a model. Deployments of a model are named alike in all accounts.
pub(crate) struct Deployment {
    pub(crate) name: &'static str,
    pub(crate) model: &'static str,
    pub(crate) version: &'static str,
    pub(crate) work: Work,
    weight: u64,
}

/// What a model is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Chat,
    Reasoning,
    Embedding,
    Completion,
}

/// The kind of a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    User,
    ServicePrincipal,
    ManagedIdentity,
}

impl Kind {
    /// As the lake's `principal_kind` has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ServicePrincipal => "service_principal",
            Self::ManagedIdentity => "managed_identity",
        }
    }
}

/// An Entra object that calls, obtains keys, or both.
pub(crate) struct Principal {
    pub(crate) kind: Kind,
    pub(crate) tenant: usize,
    pub(crate) object_id: String,
    /// The own application of a service principal or managed identity; empty for a user.
    pub(crate) app_id: String,
    /// The user principal name, or the service principal's name.
    pub(crate) name: String,
    pub(crate) display_name: String,
    /// The Azure resource of a managed identity (`xms_mirid`); empty for others.
    pub(crate) managed_resource: String,
    /// Where a user lives, or a workload runs.
    pub(crate) home: Place,
    /// Where a user works, as an index; offices are shared.
    office: Option<usize>,
    /// The calls of a workload behind a service endpoint are logged without an address.
    pub(crate) address_hidden: bool,
    pub(crate) rhythm: Rhythm,
    /// How much it calls, relative to others.
    pub(crate) weight: u64,
}

/// A network that somebody calls from: a /24, and the hosts in it that are theirs.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) prefix: [u8; 3],
    pub(crate) hosts: Vec<u8>,
}

impl Place {
    fn new(prefix: [u8; 3], host_count: u64, dice: &mut Dice) -> Self {
        Self { prefix, hosts: (0..host_count).map(|_| octet(1 + dice.below(254))).collect() }
    }

    pub(crate) fn address(&self, dice: &mut Dice) -> Address {
        Address { prefix: self.prefix, host: *dice.pick(&self.hosts) }
    }
}

/// The hours in which somebody calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    by_hour: &'static [u64; 24],
    /// Hours that local time is ahead of UTC.
    ahead: i64,
    rests_at_weekends: bool,
}

const OFFICE_HOURS: [u64; 24] =
    [2, 1, 1, 1, 1, 2, 5, 15, 45, 80, 100, 95, 70, 85, 100, 95, 85, 60, 35, 20, 15, 10, 6, 4];
const ALL_DAY: [u64; 24] =
    [40, 38, 36, 35, 36, 40, 46, 52, 58, 62, 65, 65, 62, 64, 65, 64, 62, 60, 58, 55, 52, 48, 45, 42];
const NIGHTLY: [u64; 24] = [30, 100, 100, 90, 50, 8, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 6];

impl Rhythm {
    /// How much is called in an hour, relative to other hours; at least 1.
    pub(crate) fn load(self, hour: Ticks) -> u64 {
        let load = self.by_hour[self.local_hour(hour)];
        if self.rests_at_weekends && self.is_weekend(hour) { load.div_ceil(8) } else { load }
    }

    /// Whether an employee with this rhythm is at the office.
    fn is_at_work(self, hour: Ticks) -> bool {
        (9..18).contains(&self.local_hour(hour)) && !self.is_weekend(hour)
    }

    fn local_hour(self, hour: Ticks) -> usize {
        usize::try_from((hour.count() / HOUR + self.ahead).rem_euclid(24)).unwrap_or_default()
    }

    /// The year 1 began on a Monday.
    fn is_weekend(self, hour: Ticks) -> bool {
        (hour.count() / HOUR + self.ahead).div_euclid(24).rem_euclid(7) >= 5
    }
}

/// An API Management service in front of an account, which it calls with its managed identity.
pub(crate) struct Gateway {
    pub(crate) principal: usize,
    pub(crate) account: usize,
    pub(crate) id_upper: String,
    pub(crate) host: String,
}

const REGIONS: [&str; 6] = ["swedencentral", "eastus", "westeurope", "francecentral", "eastus2", "australiaeast"];

/// The first of them is deployed everywhere.
const DEPLOYMENTS: [Deployment; 6] = [
    Deployment { name: "gpt-4o", model: "gpt-4o", version: "2024-11-20", work: Work::Chat, weight: 45 },
    Deployment { name: "mini", model: "gpt-4o-mini", version: "2024-07-18", work: Work::Chat, weight: 25 },
    Deployment { name: "embed", model: "text-embedding-3-large", version: "1", work: Work::Embedding, weight: 18 },
    Deployment { name: "o3", model: "o3", version: "2025-04-16", work: Work::Reasoning, weight: 6 },
    Deployment { name: "gpt-41", model: "gpt-4.1", version: "2025-04-14", work: Work::Chat, weight: 8 },
    Deployment { name: "instruct", model: "gpt-35-turbo-instruct", version: "0914", work: Work::Completion, weight: 3 },
];

/// Ten principals in a row are seven users, two service principals and one managed identity.
const KINDS: [Kind; 10] = {
    use Kind::{ManagedIdentity, ServicePrincipal, User};
    [User, User, ServicePrincipal, User, ManagedIdentity, User, User, ServicePrincipal, User, User]
};

impl Tenant {
    pub(crate) fn new(options: &Options) -> Self {
        let mut dice = Dice::new(options.seed, Purpose::Tenant, 0, 0);
        let dice = &mut dice;
        let tenant_count = options.tenant_count;
        let subscriptions_each = 1 + options.account_count / (4 * tenant_count);
        let subscriptions: Vec<_> = (0..tenant_count * subscriptions_each)
            .map(|index| Subscription { id: dice.guid(), tenant: index / subscriptions_each })
            .collect();
        let accounts: Vec<_> = (0..options.account_count)
            .map(|index| {
                let subscription =
                    (index % tenant_count) * subscriptions_each + index / tenant_count % subscriptions_each;
                Account::new(index, index % tenant_count, subscription, &subscriptions, dice)
            })
            .collect();
        let mut principals: Vec<_> = (0..options.principal_count)
            .map(|index| Principal::new(index, tenant_count, &subscriptions, dice))
            .collect();
        let gateway = Gateway::new(&principals, &accounts);
        let office_count = options.principal_count.div_ceil(USERS_PER_OFFICE).min(256);
        let places = |second, third_base, count: usize, host_count, dice: &mut Dice| -> Vec<_> {
            (0..count).map(|index| Place::new([second, third_base, octet(index as u64)], host_count, dice)).collect()
        };
        if options.habits.one_network {
            let network = Place::new([198, 18, 255], 40, &mut Dice::new(options.seed, Purpose::Tenant, 1, 0));
            for principal in &mut principals {
                (principal.home, principal.office) = (network.clone(), None);
            }
        }
        if options.habits.all_addresses {
            principals.iter_mut().for_each(|it| it.address_hidden = false);
        }
        Self {
            tenant_ids: (0..tenant_count).map(|_| dice.guid().to_string()).collect(),
            offices: places(198, 18, office_count, 2, dice),
            roaming: places(100, 127, 12, 80, dice),
            strangers: [[203, 0, 113], [198, 51, 100], [192, 0, 2]].map(|prefix| Place::new(prefix, 3, dice)).to_vec(),
            subscriptions,
            accounts,
            principals,
            gateway,
            seed: options.seed,
            start: Ticks::from_utc(options.start),
            roaming_share: options.roaming_share,
        }
    }

    /// Where a principal is during an hour. It is in one place for the whole hour, whatever it does.
    pub(crate) fn whereabouts(&self, principal: usize, hour: Ticks) -> &Place {
        let it = &self.principals[principal];
        let Some(office) = it.office else { return &it.home };
        let hours = (hour - self.start).div_euclid(HOUR);
        let mut dice = Dice::new(self.seed, Purpose::Whereabouts, principal as u64, hours.cast_unsigned());
        if dice.chance(self.roaming_share) {
            dice.pick(&self.roaming)
        } else if it.rhythm.is_at_work(hour) {
            &self.offices[office]
        } else {
            &it.home
        }
    }

    /// The prefix of a principal's office; `None` for a workload.
    pub(crate) fn office_prefix(&self, principal: &Principal) -> Option<[u8; 3]> {
        principal.office.map(|office| self.offices[office].prefix)
    }

    /// The last workload of a tenant that runs no gateway; `None` if there is none.
    pub(crate) fn robot(&self, tenant: usize) -> Option<usize> {
        let is_robot = |index: &usize| {
            let it = &self.principals[*index];
            it.tenant == tenant && it.kind == Kind::ServicePrincipal
        };
        (0..self.principals.len()).rev().find(is_robot)
    }

    /// The users of a tenant or, if it has none, all of its principals.
    pub(crate) fn people(&self, tenant: usize) -> Vec<usize> {
        let of_tenant = || (0..self.principals.len()).filter(|index| self.principals[*index].tenant == tenant);
        let users: Vec<_> = of_tenant().filter(|index| self.principals[*index].kind == Kind::User).collect();
        if users.is_empty() { of_tenant().collect() } else { users }
    }
}

const USERS_PER_OFFICE: usize = 6;

impl Account {
    fn new(index: usize, tenant: usize, subscription: usize, subscriptions: &[Subscription], dice: &mut Dice) -> Self {
        let region = REGIONS[index % REGIONS.len()];
        let id = format!(
            "/subscriptions/{}/resourceGroups/rg-ai-{:02}/providers/Microsoft.CognitiveServices/accounts/aoai-{region}-{index:02}",
            subscriptions[subscription].id,
            index / 2
        );
        let deployments = DEPLOYMENTS.iter().enumerate().filter(|(rank, _)| *rank == 0 || dice.chance(0.7));
        Self {
            id_upper: id.to_ascii_uppercase(),
            id_lower: id.to_ascii_lowercase(),
            id,
            region,
            subscription,
            tenant,
            deployments: deployments.map(|(_, deployment)| deployment).collect(),
            asset_id: dice.guid(),
            // The first accounts are called most, as Zipf's law has it.
            weight: 100_000 / (index as u64 + 2),
        }
    }

    /// A deployment, drawn by how much it is used, or mostly one of two that somebody keeps to.
    pub(crate) fn draw_deployment(&self, keeps_to: Option<usize>, dice: &mut Dice) -> &'static Deployment {
        if let Some(principal) = keeps_to.filter(|_| dice.chance(0.8)) {
            return self.deployments[(principal + dice.index(2)) % self.deployments.len()];
        }
        let mut rest = dice.below(self.deployments.iter().map(|it| it.weight).sum());
        for deployment in &self.deployments {
            match rest.checked_sub(deployment.weight) {
                Some(left) => rest = left,
                None => return deployment,
            }
        }
        self.deployments[0]
    }
}

impl Principal {
    fn new(index: usize, tenant_count: usize, subscriptions: &[Subscription], dice: &mut Dice) -> Self {
        let tenant = index % tenant_count;
        let kind = KINDS[index / tenant_count % KINDS.len()];
        let own_subscription = subscriptions.iter().find(|it| it.tenant == tenant).map(|it| it.id.to_string());
        let (name, display_name, managed_resource) = match kind {
            Kind::User => {
                (format!("user-{index:03}@tenant-{tenant}.example"), format!("User {index:03}"), String::new())
            }
            Kind::ServicePrincipal => (format!("sp-app-{index:03}"), format!("sp-app-{index:03}"), String::new()),
            Kind::ManagedIdentity => {
                let name = format!("id-workload-{index:03}");
                let resource = format!(
                    "/subscriptions/{}/resourcegroups/rg-workloads/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}",
                    own_subscription.unwrap_or_default()
                );
                (name.clone(), name, resource)
            }
        };
        let (home, office, rhythm) = match kind {
            Kind::User => {
                let prefix = [100, octet(64 + index as u64 / 256), octet(index as u64 % 256)];
                let rhythm =
                    Rhythm { by_hour: &OFFICE_HOURS, ahead: *dice.pick(&[1, 1, -5, 8]), rests_at_weekends: true };
                (Place::new(prefix, 1, dice), Some(index / USERS_PER_OFFICE % 256), rhythm)
            }
            Kind::ServicePrincipal | Kind::ManagedIdentity => {
                let by_hour = if dice.chance(0.3) { &NIGHTLY } else { &ALL_DAY };
                let prefix = [198, 19, octet(index as u64 / 3 % 256)];
                (Place::new(prefix, 3, dice), None, Rhythm { by_hour, ahead: 0, rests_at_weekends: false })
            }
        };
        Self {
            kind,
            tenant,
            object_id: dice.guid().to_string(),
            app_id: if kind == Kind::User { String::new() } else { dice.guid().to_string() },
            name,
            display_name,
            managed_resource,
            home,
            office,
            address_hidden: kind != Kind::User && index / tenant_count % 20 == 7,
            rhythm,
            weight: dice.skewed(6, 3) * if kind == Kind::User { 1 } else { 3 },
        }
    }
}

impl Gateway {
    /// In front of the first account, run by the first managed identity, if there is one in its tenant.
    fn new(principals: &[Principal], accounts: &[Account]) -> Option<Self> {
        let account = 0;
        let principal = principals
            .iter()
            .position(|it| it.kind == Kind::ManagedIdentity && it.tenant == accounts[account].tenant)?;
        let group = accounts[account].id_upper.split("/PROVIDERS/").next().unwrap_or_default();
        Some(Self {
            principal,
            account,
            id_upper: format!("{group}/PROVIDERS/MICROSOFT.APIMANAGEMENT/SERVICE/APIM-AI"),
            host: "apim-ai.azure-api.net".to_owned(),
        })
    }
}

/// A number that is meant to be an octet.
#[expect(clippy::cast_possible_truncation, reason = "reduced to eight bits")]
fn octet(value: u64) -> u8 {
    (value % 256) as u8
}
