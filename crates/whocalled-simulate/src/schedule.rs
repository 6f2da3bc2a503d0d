//! What happens when: who calls which account by what means, and how many calls every account gets
//! in every hour, so that they add up to exactly the number asked for.

use std::collections::BTreeSet;

use crate::{
    control::{Control, Deed, Event, SignIn},
    dice::{Dice, Purpose},
    options::{Options, millionths},
    tenant::{Kind, Tenant},
    text::{HOUR, MINUTE, Ticks},
};

/// Everything that is going to happen.
pub(crate) struct Schedule {
    /// Those who call an account, by account.
    pub(crate) callers: Vec<Vec<Caller>>,
    /// The calls of every hour and account, the accounts of an hour together.
    calls: Vec<u64>,
    /// Ordered by time.
    pub(crate) events: Vec<Event>,
    /// Ordered by receipt.
    pub(crate) sign_ins: Vec<SignIn>,
}

/// Somebody who calls an account by one means.
pub(crate) struct Caller {
    pub(crate) who: Who,
    pub(crate) means: Means,
    /// The first time that the logs saw the caller obtain a key of the account.
    pub(crate) first_grant: Option<Ticks>,
    weight: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Principal(usize),
    /// Somebody outside, from one of the networks of strangers.
    Stranger(usize),
}

/// How a caller authenticates.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Means {
    Entra,
    Key(KeyUse),
    /// A key that never was one of the account's.
    GuessedKey,
}

/// A key in somebody's hands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyUse {
    /// When it was obtained; `None` for before the logs begin.
    from: Option<Ticks>,
    /// When it was regenerated while they used it.
    invalid_at: Option<Ticks>,
    /// When they obtained its successor.
    renewed_at: Option<Ticks>,
}

impl KeyUse {
    fn is_valid(&self, at: Ticks) -> bool {
        self.invalid_at.is_none_or(|invalid_at| at < invalid_at) || self.renewed_at.is_some_and(|it| it <= at)
    }
}

/// Strangers call at any hour.
const STRANGER_LOAD: u64 = 50;

impl Caller {
    fn new(who: Who, means: Means, weight: u64) -> Self {
        Self { who, means, first_grant: None, weight }
    }

    /// How much is called in an hour, relative to other callers and hours. Who has a key only
    /// since some time within the hour begins with the next.
    pub(crate) fn load(&self, tenant: &Tenant, hour: Ticks) -> u64 {
        let by_hour = match self.who {
            Who::Principal(principal) => tenant.principals[principal].rhythm.load(hour),
            Who::Stranger(_) => STRANGER_LOAD,
        };
        let full = self.weight * by_hour;
        match self.means {
            Means::Key(key) if key.from.is_some_and(|from| from > hour) => 0,
            // Whoever is refused soon calls less.
            Means::Key(key) if !key.is_valid(hour) => full / 8,
            Means::Entra | Means::Key(_) | Means::GuessedKey => full,
        }
    }

    /// Whether the service lets a call in.
    pub(crate) fn is_authenticated(&self, at: Ticks) -> bool {
        match self.means {
            Means::Entra => true,
            Means::Key(key) => key.is_valid(at),
            Means::GuessedKey => false,
        }
    }

    /// Whether the logs saw the caller obtain a key before that time.
    pub(crate) fn is_seen_holder(&self, at: Ticks) -> bool {
        self.first_grant.is_some_and(|grant| grant <= at)
    }
}

impl Schedule {
    pub(crate) fn new(options: &Options, tenant: &Tenant) -> Self {
        let mut planner = Planner::new(options, tenant);
        planner.rotate_keys();
        planner.give_access();
        planner.let_strangers_in();
        planner.balance();
        planner.control.add_background(&mut Dice::new(options.seed, Purpose::Plan, 1, 0));
        planner.control.add_grants(options.grant_count_min, &mut Dice::new(options.seed, Purpose::Plan, 2, 0));
        planner.scan_keys();
        let Planner { mut control, mut callers, .. } = planner;
        let logged_from = control.start + HOUR * i64::from(options.habits.silent_hours);
        if options.habits.silent_hours > 0 {
            control.events.retain(|event| event.at >= logged_from);
        }
        let first_grants = control.first_grants();
        let mut entra_callers = BTreeSet::new();
        for (account, of_account) in callers.iter_mut().enumerate() {
            for caller in of_account {
                let Who::Principal(principal) = caller.who else { continue };
                caller.first_grant = first_grants.get(&(principal, account)).copied();
                if matches!(caller.means, Means::Entra) {
                    entra_callers.insert(principal);
                }
            }
        }
        control.events.sort_by_key(|event| (event.at, event.correlation));
        let mut sign_ins = control.sign_ins(options.seed, &entra_callers);
        if options.habits.silent_hours > 0 {
            sign_ins.retain(|it| it.received_at >= logged_from);
        }
        Self { calls: share_out(options, tenant, &callers), callers, sign_ins, events: control.events }
    }

    /// How many calls an account gets in an hour, counted from the first with calls.
    pub(crate) fn call_count(&self, hour: usize, account: usize) -> u64 {
        self.calls[hour * self.callers.len() + account]
    }
}

/// Shares the calls out over hours and accounts by their loads, rounding the running sum, so that
/// the total is exact.
fn share_out(options: &Options, tenant: &Tenant, callers: &[Vec<Caller>]) -> Vec<u64> {
    let start = Ticks::from_utc(options.start);
    let mut sums = Vec::new();
    let mut sum = 0_u128;
    for hour in 0..i64::from(options.hour_count) {
        for of_account in callers {
            let loads = of_account.iter().map(|it| it.load(tenant, start + hour * HOUR));
            sum += loads.map(u128::from).sum::<u128>();
            sums.push(sum);
        }
    }
    // A tenant always has callers with tokens, unless its options rule them out; whatever is left
    // then falls to the last cell.
    let total = sum.max(1);
    let mut shared = 0;
    let last = sums.len() - 1;
    let up_to = sums
        .into_iter()
        .enumerate()
        .map(|(index, sum)| if index == last { options.call_count } else { portion(options.call_count, sum, total) });
    up_to.map(|until| until - std::mem::replace(&mut shared, until)).collect()
}

/// `count * part / whole`, where `part` is at most `whole`.
fn portion(count: u64, part: u128, whole: u128) -> u64 {
    u64::try_from(u128::from(count) * part / whole).unwrap_or(count)
}

struct Planner<'o> {
    options: &'o Options,
    tenant: &'o Tenant,
    control: Control<'o>,
    dice: Dice,
    callers: Vec<Vec<Caller>>,
    /// When the two keys of every account are regenerated.
    rotations: Vec<[Option<Ticks>; 2]>,
    /// Whether the keys of an account are in a vault.
    vaults: Vec<bool>,
}

impl<'o> Planner<'o> {
    fn new(options: &'o Options, tenant: &'o Tenant) -> Self {
        Self {
            options,
            tenant,
            control: Control::new(options, tenant),
            dice: Dice::new(options.seed, Purpose::Plan, 0, 0),
            callers: tenant.accounts.iter().map(|_| Vec::new()).collect(),
            rotations: vec![[None; 2]; tenant.accounts.len()],
            vaults: vec![false; tenant.accounts.len()],
        }
    }

    fn length(&self) -> i64 {
        self.control.end - self.control.start
    }

    /// Of every four accounts, one has both keys regenerated, one a single key, two none.
    fn rotate_keys(&mut self) {
        const HOURS_MIN: i64 = 8;
        if self.length() < HOURS_MIN * HOUR {
            return;
        }
        for account in 0..self.tenant.accounts.len() {
            let middle = self.control.start + self.length() / 2 + self.dice.between(0, HOUR);
            let at = match account % 4 {
                1 => [Some(middle + HOUR), Some(middle + HOUR + 20 * MINUTE)],
                3 => [Some(middle), None],
                _ => continue,
            };
            let people = self.tenant.people(self.tenant.accounts[account].tenant);
            let administrator = people[account % people.len()];
            for (number, at) in at.into_iter().enumerate().filter_map(|(number, at)| Some((number, at?))) {
                self.control.act(at, administrator, account, Deed::RegenerateKey { number }, &mut self.dice);
            }
            self.rotations[account] = at;
        }
    }

    /// Gives every principal access to one or two accounts of its tenant, by token, key or both.
    fn give_access(&mut self) {
        let tenant_count = self.options.tenant_count;
        for principal in 0..self.tenant.principals.len() {
            let it = &self.tenant.principals[principal];
            if self.options.habits.scans_per_day > 0 && self.tenant.robot(it.tenant) == Some(principal) {
                continue;
            }
            let accounts: Vec<_> = (it.tenant..self.tenant.accounts.len()).step_by(tenant_count).collect();
            let ordinal = principal / tenant_count;
            let runs_gateway = self.tenant.gateway.as_ref().is_some_and(|gateway| gateway.principal == principal);
            let mut primary = accounts[ordinal % accounts.len()];
            if let Some(gateway) = self.tenant.gateway.as_ref().filter(|_| runs_gateway) {
                primary = gateway.account;
            }
            // The first principal of an account calls it by both means, so that both occur.
            let is_first = ordinal < accounts.len();
            let uses_token = is_first || runs_gateway || it.kind == Kind::ManagedIdentity || self.dice.chance(0.45);
            let uses_key = is_first || !uses_token || self.dice.chance(0.25);
            self.give(principal, primary, uses_token, uses_key, is_first);
            let second = *self.dice.pick(&accounts);
            if second != primary && self.dice.chance(0.3) {
                let uses_token = self.dice.chance(0.4);
                self.give(principal, second, uses_token, !uses_token, false);
            }
        }
    }

    fn give(&mut self, principal: usize, account: usize, token: bool, key: bool, early: bool) {
        let weight = self.tenant.principals[principal].weight;
        if token {
            self.callers[account].push(Caller::new(Who::Principal(principal), Means::Entra, weight));
        }
        if key {
            let key = self.give_key(principal, account, early);
            self.callers[account].push(Caller::new(Who::Principal(principal), Means::Key(key), weight));
        }
    }

    /// Lets a principal list the keys of an account, mostly before the first call, and again when
    /// the one that it uses was regenerated.
    fn give_key(&mut self, principal: usize, account: usize, early: bool) -> KeyUse {
        if self.options.habits.vault {
            return self.read_vault(account);
        }
        let dice = &mut self.dice;
        let list = Deed::ListKeys { allowed: true };
        let (first, start, end) = (self.control.first, self.control.start, self.control.end);
        let from = if !early && dice.chance(self.options.unseen_grant_share) {
            None
        } else if first < start && (early || dice.chance(0.75)) {
            Some(first + dice.between(0, start - first))
        } else {
            Some(start + dice.between(0, ((end - start) / 4).max(HOUR)))
        };
        if let Some(from) = from {
            self.control.act(from, principal, account, list, dice);
        }
        let number = dice.index(2);
        let invalid_at = self.rotations[account][number].filter(|at| from.is_none_or(|from| from < *at));
        let renewed_at = invalid_at.map(|at| at + dice.between(10 * MINUTE, 150 * MINUTE));
        let renewed_at = renewed_at.filter(|at| *at < end && dice.chance(0.8));
        if let Some(at) = renewed_at {
            self.control.act(at, principal, account, list, dice);
        }
        KeyUse { from, invalid_at, renewed_at }
    }

    /// Lets somebody read a key in a vault. Who fills it lists the keys when the logs begin, and after a
    /// key was regenerated.
    fn read_vault(&mut self, account: usize) -> KeyUse {
        let list = Deed::ListKeys { allowed: true };
        let keeper = self.tenant.robot(self.tenant.accounts[account].tenant).unwrap_or_default();
        let invalid_at = self.rotations[account][self.dice.index(2)];
        let renewed_at = invalid_at.map(|at| at + 30 * MINUTE);
        if !std::mem::replace(&mut self.vaults[account], true) {
            let filled_at = self.control.first + self.dice.between(0, HOUR);
            let filled_again_at = self.rotations[account].into_iter().flatten().map(|at| at + 20 * MINUTE);
            for at in std::iter::once(filled_at).chain(filled_again_at) {
                self.control.act(at, keeper, account, list, &mut self.dice);
            }
        }
        KeyUse { from: None, invalid_at, renewed_at }
    }

    /// Lets a workload that never calls list the keys of every account all day.
    fn scan_keys(&mut self) {
        let list = Deed::ListKeys { allowed: true };
        let length = self.control.end - self.control.first;
        let count = i64::from(self.options.habits.scans_per_day) * (length / HOUR) / 24;
        for account in 0..self.tenant.accounts.len() {
            let Some(robot) = self.tenant.robot(self.tenant.accounts[account].tenant) else { continue };
            for index in 0..count {
                let at = self.control.first + length / count * index + self.dice.between(0, MINUTE);
                self.control.act(at, robot, account, list, &mut self.dice);
            }
        }
    }

    /// Leaks a key of every other account after a fifth of the time, and has the others' guessed.
    fn let_strangers_in(&mut self) {
        for account in 0..self.tenant.accounts.len() {
            let guesser = Who::Stranger(account % self.tenant.strangers.len());
            self.callers[account].push(Caller::new(guesser, Means::GuessedKey, 1));
            if account % 4 < 2 {
                let from = Some(self.control.start + self.length() / 5);
                let key = KeyUse { from, invalid_at: self.rotations[account][0], renewed_at: None };
                let thief = Who::Stranger((account + 1) % self.tenant.strangers.len());
                self.callers[account].push(Caller::new(thief, Means::Key(key), 8));
            }
        }
    }

    /// Scales the weights of an account's callers, so that calls with tokens, with keys and by
    /// strangers have the shares asked for, and accounts their weights.
    fn balance(&mut self) {
        let entra = millionths(self.options.entra_share);
        let strangers = millionths(self.options.stranger_share);
        let keys = 1_000_000_u64.saturating_sub(entra + strangers);
        let hours = (self.length() / HOUR).min(WEEK_HOURS);
        for (account, callers) in self.callers.iter_mut().enumerate() {
            let group = |caller: &Caller| match (caller.who, caller.means) {
                (Who::Stranger(_), _) => 0,
                (_, Means::Entra) => 1,
                _ => 2,
            };
            // Loads, not weights: a group of workloads calls at night too.
            let mut sums = [0_u64; 3];
            for caller in callers.iter() {
                sums[group(caller)] += caller.weight * mean_load(self.tenant, caller, self.control.start, hours);
            }
            for caller in callers {
                let share = [strangers, entra, keys][group(caller)];
                let scale = self.tenant.accounts[account].weight * share * 64;
                caller.weight = caller.weight * scale / sums[group(caller)].max(1);
            }
        }
    }
}

/// Enough hours to know a rhythm by.
const WEEK_HOURS: i64 = 168;

/// The mean load of a caller's first hours.
fn mean_load(tenant: &Tenant, caller: &Caller, start: Ticks, hours: i64) -> u64 {
    match caller.who {
        Who::Principal(principal) => {
            let rhythm = tenant.principals[principal].rhythm;
            let sum: u64 = (0..hours).map(|hour| rhythm.load(start + hour * HOUR)).sum();
            (sum / hours.cast_unsigned()).max(1)
        }
        Who::Stranger(_) => STRANGER_LOAD,
    }
}
