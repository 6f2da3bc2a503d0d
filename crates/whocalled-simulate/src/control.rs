//! What happens on the control plane: keys are listed, refused and regenerated, resources are
//! changed, and everybody signs in to do so.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    dice::{Dice, Purpose},
    options::Options,
    tenant::{Kind, Tenant},
    text::{Address, Guid, HOUR, MINUTE, SECOND, Ticks},
};

/// One action on an account.
pub(crate) struct Event {
    pub(crate) at: Ticks,
    pub(crate) account: usize,
    /// Who did it, from where and with which token; `None` where the platform did.
    pub(crate) actor: Option<Actor>,
    pub(crate) correlation: Guid,
    pub(crate) deed: Deed,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Actor {
    pub(crate) principal: usize,
    pub(crate) address: Address,
    pub(crate) token: Guid,
    pub(crate) client: Client,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    ListKeys { allowed: bool },
    RegenerateKey { number: usize },
    WriteDeployment,
    AssignRole,
    WriteDiagnosticSetting,
    ChangeHealth,
}

/// The application that a principal uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// The Azure portal, which lists keys when a page is opened.
    Portal,
    CommandLine,
    /// The principal's own application.
    Own,
}

impl Client {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Portal => "portal",
            Self::CommandLine => "cli",
            Self::Own => "own",
        }
    }

    /// The application's id and name; those of Microsoft's are the same in every tenant.
    pub(crate) fn application(self, tenant: &Tenant, principal: usize) -> (&str, &str) {
        match self {
            Self::Portal => ("c44b4083-3bb0-49c1-b47d-974e53cbdf3c", "Azure Portal"),
            Self::CommandLine => ("04b07795-8ddb-461a-bbee-02f9e1bf7b46", "Microsoft Azure CLI"),
            Self::Own => (&tenant.principals[principal].app_id, &tenant.principals[principal].name),
        }
    }
}

impl Event {
    /// The principal that this event gave key material to.
    pub(crate) fn granted_to(&self) -> Option<usize> {
        let gives = matches!(self.deed, Deed::ListKeys { allowed: true } | Deed::RegenerateKey { .. });
        self.actor.filter(|_| gives).map(|actor| actor.principal)
    }
}

/// A token that a principal got from Entra.
pub(crate) struct SignIn {
    pub(crate) at: Ticks,
    /// When the record was received, which decides the blob that it is in.
    pub(crate) received_at: Ticks,
    pub(crate) principal: usize,
    pub(crate) address: Address,
    pub(crate) id: Guid,
    pub(crate) client: Client,
    pub(crate) target: Target,
    pub(crate) interactive: bool,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    ResourceManager,
    CognitiveServices,
}

/// The events of a tenant, while they are being planned.
pub(crate) struct Control<'t> {
    tenant: &'t Tenant,
    pub(crate) events: Vec<Event>,
    /// The first instant that the logs reach back to.
    pub(crate) first: Ticks,
    pub(crate) start: Ticks,
    pub(crate) end: Ticks,
}

impl<'t> Control<'t> {
    pub(crate) fn new(options: &Options, tenant: &'t Tenant) -> Self {
        let start = Ticks::from_utc(options.start);
        let first = start + -HOUR * i64::from(options.lead_hours);
        Self { tenant, events: Vec::new(), first, start, end: start + HOUR * i64::from(options.hour_count) }
    }

    /// Adds an event by a principal, where it is at that time.
    pub(crate) fn act(&mut self, at: Ticks, principal: usize, account: usize, deed: Deed, dice: &mut Dice) {
        let client = match self.tenant.principals[principal].kind {
            Kind::User if dice.chance(0.45) => Client::Portal,
            Kind::User => Client::CommandLine,
            Kind::ServicePrincipal | Kind::ManagedIdentity => Client::Own,
        };
        self.act_through(client, at, principal, account, deed, dice);
    }

    fn act_through(
        &mut self,
        client: Client,
        at: Ticks,
        principal: usize,
        account: usize,
        deed: Deed,
        dice: &mut Dice,
    ) {
        let address = self.tenant.whereabouts(principal, at.floor(HOUR)).address(dice);
        let actor = Actor { principal, address, token: dice.guid(), client };
        self.events.push(Event { at, account, actor: Some(actor), correlation: dice.guid(), deed });
    }

    /// Adds what happens besides: people who open a page of the portal and never call, people who
    /// may not, resources that are changed, and health events.
    pub(crate) fn add_background(&mut self, dice: &mut Dice) {
        let days = (self.end - self.first).cast_unsigned().div_ceil((24 * HOUR).cast_unsigned());
        for (account, it) in self.tenant.accounts.iter().enumerate() {
            let people = self.tenant.people(it.tenant);
            let mut several = |control: &mut Self, count: u64, deed: Deed, client: Option<Client>| {
                for _ in 0..count {
                    let at = control.first + dice.between(0, control.end - control.first);
                    let principal = *dice.pick(&people);
                    match client.filter(|_| control.tenant.principals[principal].kind == Kind::User) {
                        Some(client) => control.act_through(client, at, principal, account, deed, dice),
                        None => control.act(at, principal, account, deed, dice),
                    }
                }
            };
            let page_loads = days * (2 + people.len() as u64 / 50);
            several(self, page_loads, Deed::ListKeys { allowed: true }, Some(Client::Portal));
            several(self, 1 + days / 3, Deed::ListKeys { allowed: false }, None);
            several(self, 1 + days / 2, Deed::WriteDeployment, None);
            several(self, 1 + days / 4, Deed::AssignRole, None);
            several(self, 1, Deed::WriteDiagnosticSetting, Some(Client::Portal));
            for _ in 0..1 + days / 2 {
                let at = self.first + dice.between(0, self.end - self.first);
                let correlation = dice.guid();
                self.events.push(Event { at, account, actor: None, correlation, deed: Deed::ChangeHealth });
            }
        }
    }

    /// Adds grants until there are so many, by anybody, on any account of the same tenant, at any time.
    pub(crate) fn add_grants(&mut self, count_min: u64, dice: &mut Dice) {
        let count = self.events.iter().filter(|it| it.granted_to().is_some()).count() as u64;
        let of_tenant: Vec<Vec<usize>> = self.tenant.accounts.iter().map(|it| self.principals(it.tenant)).collect();
        for _ in count..count_min {
            let account = dice.index(of_tenant.len());
            let at = self.first + dice.between(0, self.end - self.first);
            self.act(at, *dice.pick(&of_tenant[account]), account, Deed::ListKeys { allowed: true }, dice);
        }
    }

    fn principals(&self, tenant: usize) -> Vec<usize> {
        let all = self.tenant.principals.iter().enumerate();
        all.filter(|(_, it)| it.tenant == tenant).map(|(index, _)| index).collect()
    }

    /// The first instant at which a principal obtained a key of an account, as the logs tell.
    pub(crate) fn first_grants(&self) -> BTreeMap<(usize, usize), Ticks> {
        let mut first = BTreeMap::new();
        for event in &self.events {
            if let Some(principal) = event.granted_to() {
                let at = first.entry((principal, event.account)).or_insert(event.at);
                *at = event.at.min(*at);
            }
        }
        first
    }

    /// The sign-ins behind the events and behind calls with Entra tokens, ordered by receipt.
    pub(crate) fn sign_ins(&self, seed: u64, entra_callers: &BTreeSet<usize>) -> Vec<SignIn> {
        let mut sign_ins = Vec::new();
        let mut dice = Dice::new(seed, Purpose::SignIns, 0, 0);
        for (actor, acted_at) in self.events.iter().filter_map(|event| Some((event.actor?, event.at))) {
            let at = acted_at + -dice.between(2 * MINUTE, 40 * MINUTE);
            let interactive = dice.chance(0.3);
            sign_ins.push(SignIn {
                at,
                received_at: at + dice.between(33 * SECOND, 182 * SECOND),
                principal: actor.principal,
                address: actor.address,
                id: actor.token,
                client: actor.client,
                target: Target::ResourceManager,
                interactive,
            });
        }
        for principal in entra_callers {
            self.add_token_renewals(*principal, &mut dice, &mut sign_ins);
        }
        sign_ins.retain(|it| it.received_at >= self.first && it.received_at < self.end);
        sign_ins.sort_by_key(|it| (it.received_at, it.id));
        sign_ins
    }

    /// A token for calls every few hours; that of a managed identity lasts for a day.
    fn add_token_renewals(&self, principal: usize, dice: &mut Dice, sign_ins: &mut Vec<SignIn>) {
        let it = &self.tenant.principals[principal];
        let (every_hours, client) = match it.kind {
            Kind::User => (3, Client::CommandLine),
            Kind::ServicePrincipal => (4, Client::Own),
            Kind::ManagedIdentity => (24, Client::Own),
        };
        let mut hour = self.start;
        while hour < self.end {
            if it.kind != Kind::User || it.rhythm.load(hour) >= 20 {
                let at = hour + dice.between(0, 5 * MINUTE);
                sign_ins.push(SignIn {
                    at,
                    received_at: at + dice.between(33 * SECOND, 182 * SECOND),
                    principal,
                    address: self.tenant.whereabouts(principal, hour).address(dice),
                    id: dice.guid(),
                    client,
                    target: Target::CognitiveServices,
                    interactive: dice.chance(0.2),
                });
            }
            hour = hour + HOUR * every_hours;
        }
    }
}
