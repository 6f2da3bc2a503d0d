//! The calls of one account in one hour, written into its blobs and into the truth.

use crate::{
    Error,
    archive::{Archive, Blob, Late, Scope},
    dialect::{Dialect, logs_usage},
    dice::{Dice, Purpose},
    draw::{Origin, deliver_again, draw_call, draw_instant},
    options::Options,
    records::{
        call::{CATEGORY, CONTAINER, Call, push_call, push_near_empty},
        side::{self, Forwarded},
    },
    schedule::{Caller, Means, Schedule, Who},
    tenant::{Place, Tenant},
    text::{HOUR, MINUTE, Ticks},
    truth::CallTruth,
};

/// Everything that the calls of an hour need, and what is carried from one hour to the next.
pub(crate) struct Traffic<'t> {
    options: &'t Options,
    tenant: &'t Tenant,
    schedule: &'t Schedule,
    people: Vec<usize>,
    late: Vec<Late>,
    damaged_count: u64,
    pub(crate) counts: Counts,
}

/// Records that are there beside one for every call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) redelivered: u64,
    pub(crate) split: u64,
    pub(crate) late: u64,
}

/// Those who call an account in an hour, each where they are.
struct Crowd<'t> {
    callers: Vec<(&'t Caller, &'t Place)>,
    /// The loads, summed up.
    sums: Vec<u64>,
}

impl<'t> Crowd<'t> {
    fn new(tenant: &'t Tenant, callers: &'t [Caller], hour: Ticks) -> Self {
        let mut crowd = Self { callers: Vec::new(), sums: Vec::new() };
        let mut sum = 0;
        for caller in callers {
            sum += caller.load(tenant, hour);
            let place = match caller.who {
                Who::Principal(principal) => tenant.whereabouts(principal, hour),
                Who::Stranger(stranger) => &tenant.strangers[stranger],
            };
            crowd.callers.push((caller, place));
            crowd.sums.push(sum);
        }
        crowd
    }

    fn draw(&self, dice: &mut Dice) -> (&'t Caller, &'t Place) {
        match self.sums.last() {
            Some(&total) if total > 0 => {
                let point = dice.below(total);
                self.callers[self.sums.partition_point(|sum| *sum <= point)]
            }
            _ => *dice.pick(&self.callers),
        }
    }
}

/// The blobs of an account and hour, and how their records are spelled.
struct Blobs {
    calls: Blob,
    usage: Blob,
    dialect: Dialect,
    /// The spelling of the next hour's blob; `None` in the last hour, when nothing can be late.
    next: Option<Dialect>,
}

impl<'t> Traffic<'t> {
    pub(crate) fn new(options: &'t Options, tenant: &'t Tenant, schedule: &'t Schedule) -> Self {
        Self {
            options,
            tenant,
            schedule,
            people: tenant.people(tenant.accounts[0].tenant),
            late: tenant.accounts.iter().map(|_| Late::default()).collect(),
            damaged_count: 0,
            counts: Counts::default(),
        }
    }

    /// Writes the calls of an account in an hour, counted from the first with calls.
    pub(crate) fn write_hour(
        &mut self,
        archive: &mut Archive,
        truth: &mut CallTruth,
        hour_index: u32,
        account: usize,
    ) -> Result<(), Error> {
        let tenant = self.tenant;
        let it = &tenant.accounts[account];
        let hour = Ticks::from_utc(self.options.start) + i64::from(hour_index) * HOUR;
        let is_last = hour_index + 1 == self.options.hour_count;
        let dialect = Dialect::new(self.options, account, hour_index);
        let resource = Scope::Resource(&it.id);
        let mut blobs = Blobs {
            calls: archive.blob(CONTAINER, &resource, hour, dialect.layout),
            usage: archive.blob(side::USAGE.1, &resource, hour, Default::default()),
            dialect,
            next: (!is_last).then(|| Dialect::new(self.options, account, hour_index + 1)),
        };
        self.late[account].deliver(CATEGORY, &mut blobs.calls)?;
        let mut gateway_blobs = self.gateway_blobs(archive, account, hour);
        let crowd = Crowd::new(tenant, &self.schedule.callers[account], hour);
        let mut dice = Dice::new(self.options.seed, Purpose::Traffic, account as u64, u64::from(hour_index));
        let count = self.schedule.call_count(hour_index as usize, account);
        let blank_line_at = Some(count / 2).filter(|_| dice.chance(BLANK_LINE_SHARE) && !self.options.plain);
        let mut by_minute = [0_i64; 60];
        for index in 0..count {
            if blank_line_at == Some(index) {
                blobs.calls.blank_line();
            }
            let at = draw_instant(&mut dice, hour, HOUR, index, count);
            let (caller, place) = crowd.draw(&mut dice);
            let origin = self.origin(&mut dice, caller, place, at, &blobs.dialect);
            let call = draw_call(&mut dice, it, &origin, at);
            let client_id = match gateway_blobs.as_mut().filter(|_| self.is_forwarded(caller, &call)) {
                Some(gateway_blobs) => self.write_forwarded(&mut dice, gateway_blobs, hour, &call)?,
                None => "",
            };
            truth.add(tenant, account, caller, &call, place.prefix, client_id)?;
            self.write_call(&mut dice, &mut blobs, account, hour, &call)?;
            by_minute[usize::try_from((at - hour) / MINUTE).unwrap_or_default()] += 1;
        }
        if account == 0 {
            self.spoil(&mut blobs, &crowd, hour_index, hour)?;
        }
        self.write_metrics(archive, account, hour, &by_minute)?;
        for blob in gateway_blobs.into_iter().flatten().chain([blobs.usage, blobs.calls]) {
            archive.finish(blob)?;
        }
        Ok(())
    }

    fn origin(&self, dice: &mut Dice, caller: &Caller, place: &Place, at: Ticks, dialect: &Dialect) -> Origin<'t> {
        let principal = match caller.who {
            Who::Principal(principal) => Some(&self.tenant.principals[principal]),
            Who::Stranger(_) => None,
        };
        let has_token = matches!(caller.means, Means::Entra);
        let is_hidden = principal.is_some_and(|it| it.address_hidden);
        Origin {
            object_id: principal.filter(|_| has_token).map_or("", |it| &it.object_id),
            address: Some(place.address(dice)).filter(|_| !is_hidden),
            is_authenticated: caller.is_authenticated(at),
            may_lack_correlation: !dialect.split,
            keeps_to: match caller.who {
                Who::Principal(principal) if self.options.habits.own_deployments => Some(principal),
                _ => None,
            },
        }
    }

    /// Writes the records of a call: into this hour's blob, into the next one's if it is late, and
    /// again if it is delivered twice.
    fn write_call(
        &mut self,
        dice: &mut Dice,
        blobs: &mut Blobs,
        account: usize,
        hour: Ticks,
        call: &Call<'_>,
    ) -> Result<(), Error> {
        let it = &self.tenant.accounts[account];
        let late = &mut self.late[account];
        let end = hour + HOUR;
        let may_be_late = call.logged_at >= end + -LATE_TICKS && dice.chance(LATE_FACTOR * self.options.late_share);
        let is_late = call.logged_at >= end || may_be_late;
        let mut place = |blobs: &mut Blobs, call: &Call<'_>, is_late: bool| match blobs.next.filter(|_| is_late) {
            Some(next) => {
                late.record(|out| push_call(out, &next, it, call));
                Ok(1)
            }
            None => {
                let Blobs { calls, dialect, .. } = blobs;
                calls.record(CATEGORY, |out| push_call(out, dialect, it, call)).map(|()| 0)
            }
        };
        self.counts.late += place(blobs, call, is_late)?;
        if dice.chance(self.options.redelivered_share) {
            let again = deliver_again(dice, call);
            let is_late = again.logged_at >= end || dice.chance(0.3);
            self.counts.late += place(blobs, &again, is_late)?;
            self.counts.redelivered += 1;
        }
        if blobs.dialect.split {
            let Blobs { calls, dialect, .. } = blobs;
            calls.record(CATEGORY, |out| push_near_empty(out, dialect, it, call))?;
            self.counts.split += 1;
        }
        if logs_usage(account) && call.status == 200 && call.deployment.is_some() {
            blobs.usage.record(side::USAGE.0, |out| side::push_usage(out, it, call))?;
        }
        Ok(())
    }

    /// The blobs of the gateway, if it is in front of this account.
    fn gateway_blobs(&self, archive: &Archive, account: usize, hour: Ticks) -> Option<[Blob; 2]> {
        let gateway = self.tenant.gateway.as_ref().filter(|gateway| gateway.account == account)?;
        let scope = Scope::Resource(&gateway.id_upper);
        Some(
            [side::GATEWAY, side::GATEWAY_LLM]
                .map(|(_, container)| archive.blob(container, &scope, hour, Default::default())),
        )
    }

    fn is_forwarded(&self, caller: &Caller, call: &Call<'_>) -> bool {
        let is_gateway = |principal| self.tenant.gateway.as_ref().is_some_and(|it| it.principal == principal);
        matches!((caller.who, caller.means), (Who::Principal(it), Means::Entra) if is_gateway(it))
            && call.deployment.is_some()
    }

    /// Writes what the gateway logs of a call, and returns the object id of the user behind it.
    fn write_forwarded(
        &self,
        dice: &mut Dice,
        [log, llm_log]: &mut [Blob; 2],
        hour: Ticks,
        call: &Call<'_>,
    ) -> Result<&'t str, Error> {
        let Some(gateway) = &self.tenant.gateway else { return Ok("") };
        let client = *dice.pick(&self.people);
        let client_id = self.tenant.principals[client].object_id.as_str();
        let forwarded = Forwarded {
            gateway,
            account: &self.tenant.accounts[gateway.account],
            call,
            correlation: dice.guid(),
            client_id,
            client_address: self.tenant.whereabouts(client, hour).address(dice),
            product_subscription: format!("team-{}", client % 5),
        };
        log.record(side::GATEWAY.0, |out| side::push_gateway(out, &forwarded))?;
        llm_log.record(side::GATEWAY_LLM.0, |out| side::push_gateway_llm(out, &forwarded))?;
        Ok(client_id)
    }

    fn write_metrics(
        &self,
        archive: &mut Archive,
        account: usize,
        hour: Ticks,
        by_minute: &[i64; 60],
    ) -> Result<(), Error> {
        let it = &self.tenant.accounts[account];
        let (category, container) = side::METRICS;
        let mut blob = archive.blob(container, &Scope::Resource(&it.id), hour, Default::default());
        let mut minute = hour;
        for count in by_minute {
            if *count > 0 {
                blob.record(category, |out| side::push_metric(out, it, minute, *count))?;
            }
            minute = minute + MINUTE;
        }
        archive.finish(blob)
    }

    /// Damages what is due by this hour, if there is a sound record before it, and tears the last
    /// blob. The lines are made up: no call of the truth is behind them.
    fn spoil(&mut self, blobs: &mut Blobs, crowd: &Crowd<'t>, hour_index: u32, hour: Ticks) -> Result<(), Error> {
        let mut dice = Dice::new(self.options.seed, Purpose::Background, u64::from(hour_index), 1);
        let due =
            u128::from(self.options.damaged_count) * u128::from(hour_index + 1) / u128::from(self.options.hour_count);
        let mut made_up = |traffic: &Self, blobs: &Blobs| {
            let (caller, place) = crowd.draw(&mut dice);
            let origin = traffic.origin(&mut dice, caller, place, hour, &blobs.dialect);
            let call = draw_call(&mut dice, &traffic.tenant.accounts[0], &origin, hour);
            let mut line = Vec::new();
            push_call(&mut line, &blobs.dialect, &traffic.tenant.accounts[0], &call);
            line
        };
        while !blobs.calls.is_empty() && u128::from(self.damaged_count) < due {
            let mut line = made_up(self, blobs);
            match self.damaged_count % 3 {
                0 => line.truncate(line.len() * 2 / 3),
                1 => line = b"upstream connect error or disconnect/reset before headers".to_vec(),
                // The end of one record and the line end were lost: two in a line, neither whole.
                _ => line.splice(100.., made_up(self, blobs)).for_each(drop),
            }
            blobs.calls.damaged_record(&line)?;
            self.damaged_count += 1;
        }
        if self.options.torn && hour_index + 1 == self.options.hour_count {
            let line = made_up(self, blobs);
            blobs.calls.tear(&line[..line.len() * 3 / 5]);
        }
        Ok(())
    }
}

/// How long before the end of its hour a record may be emitted and still be late.
const LATE_TICKS: i64 = 15 * MINUTE;
/// A quarter of all records are emitted in that time.
const LATE_FACTOR: f64 = 4.0;
/// Blobs with an empty line in the middle.
const BLANK_LINE_SHARE: f64 = 0.05;
