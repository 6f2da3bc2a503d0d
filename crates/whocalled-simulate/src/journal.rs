//! What is logged beside calls, hour by hour: the Activity Log of every subscription, the audit
//! records of key listings, sign-ins, traces and network rules.

use std::collections::BTreeMap;

use crate::{
    Error,
    archive::{Archive, Blob, Layout, Scope},
    control::{Deed, Event, SignIn},
    dice::{Dice, Purpose},
    records::{
        activity::{self, AUDIT_CATEGORY, AUDIT_CONTAINER, Phase, push_audit, push_event},
        side,
        sign_in::{self, push_sign_in},
    },
    schedule::Schedule,
    tenant::Tenant,
    text::{HOUR, MILLISECOND, SECOND, Ticks, TimeForm},
};

/// What is left to be logged; both in the order in which it is.
pub(crate) struct Journal<'t> {
    tenant: &'t Tenant,
    events: &'t [Event],
    sign_ins: &'t [SignIn],
    seed: u64,
    redelivered_share: f64,
}

impl<'t> Journal<'t> {
    pub(crate) fn new(tenant: &'t Tenant, schedule: &'t Schedule, seed: u64, redelivered_share: f64) -> Self {
        Self { tenant, events: &schedule.events, sign_ins: &schedule.sign_ins, seed, redelivered_share }
    }

    /// Writes what is logged up to the end of an hour.
    pub(crate) fn write_hour(&mut self, archive: &mut Archive, hour: Ticks) -> Result<(), Error> {
        let end = hour + HOUR;
        let (events, later) = self.events.split_at(self.events.partition_point(|event| event.at < end));
        self.events = later;
        let (sign_ins, later) = self.sign_ins.split_at(self.sign_ins.partition_point(|it| it.received_at < end));
        self.sign_ins = later;
        let mut dice = Dice::new(self.seed, Purpose::Background, hour.count().cast_unsigned(), 0);
        self.write_activity(archive, &mut dice, hour, events)?;
        self.write_audit(archive, hour, events)?;
        self.write_sign_ins(archive, &mut dice, hour, sign_ins)?;
        self.write_rest(archive, &mut dice, hour)
    }

    fn write_activity(
        &self,
        archive: &mut Archive,
        dice: &mut Dice,
        hour: Ticks,
        events: &[Event],
    ) -> Result<(), Error> {
        let mut blobs = BTreeMap::<usize, Blob>::new();
        for event in events {
            let subscription = self.tenant.accounts[event.account].subscription;
            let id = format!("/subscriptions/{}", self.tenant.subscriptions[subscription].id);
            let blob = blobs.entry(subscription).or_insert_with(|| {
                archive.blob(whocalled_types::CONTAINER_ACTIVITY, &Scope::Resource(&id), hour, Layout::default())
            });
            let end = match event.deed {
                Deed::ListKeys { allowed: false } => Phase::Failure,
                _ => Phase::Success,
            };
            let ended_at = event.at + dice.between(200 * MILLISECOND, 2 * SECOND);
            let records = [(event.at, Phase::Start), (ended_at, end)];
            // What the platform does has no beginning and end.
            let records = if event.actor.is_some() { &records[..] } else { &records[..1] };
            let category = activity::category(event, subscription);
            for (at, phase) in records {
                // The Activity Log is exported twice where two settings cover a subscription.
                for _ in 0..=u32::from(dice.chance(self.redelivered_share)) {
                    blob.record(category, |out| push_event(out, self.tenant, event, *at, *phase))?;
                }
            }
        }
        blobs.into_values().try_for_each(|blob| archive.finish(blob))
    }

    fn write_audit(&self, archive: &mut Archive, hour: Ticks, events: &[Event]) -> Result<(), Error> {
        let mut blobs = BTreeMap::<usize, Blob>::new();
        for event in events.iter().filter(|event| event.deed == Deed::ListKeys { allowed: true }) {
            let Some(principal) = event.granted_to() else { continue };
            let account = &self.tenant.accounts[event.account];
            let blob = blobs.entry(event.account).or_insert_with(|| {
                archive.blob(AUDIT_CONTAINER, &Scope::Resource(&account.id), hour, Layout::default())
            });
            let object_id = &self.tenant.principals[principal].object_id;
            blob.record(AUDIT_CATEGORY, |out| push_audit(out, account, object_id, event.at))?;
        }
        blobs.into_values().try_for_each(|blob| archive.finish(blob))
    }

    fn write_sign_ins(
        &self,
        archive: &mut Archive,
        dice: &mut Dice,
        hour: Ticks,
        sign_ins: &[SignIn],
    ) -> Result<(), Error> {
        let layout = Layout { carriage_returns: true, ..Layout::default() };
        let mut blobs = BTreeMap::<(usize, &str), Blob>::new();
        for it in sign_ins {
            let (category, container) = sign_in::category(self.tenant, it);
            let tenant = self.tenant.principals[it.principal].tenant;
            let scope = Scope::Tenant(&self.tenant.tenant_ids[tenant]);
            let blob =
                blobs.entry((tenant, container)).or_insert_with(|| archive.blob(container, &scope, hour, layout));
            let form = if dice.chance(UNITED_STATES_SHARE) { TimeForm::UnitedStates } else { TimeForm::Seven };
            blob.record(category, |out| push_sign_in(out, self.tenant, it, it.received_at, form))?;
            if dice.chance(self.redelivered_share) {
                let again_at = it.received_at + dice.between(5 * SECOND, 60 * SECOND);
                blob.record(category, |out| push_sign_in(out, self.tenant, it, again_at, TimeForm::Seven))?;
            }
        }
        blobs.into_values().try_for_each(|blob| archive.finish(blob))
    }

    fn write_rest(&self, archive: &mut Archive, dice: &mut Dice, hour: Ticks) -> Result<(), Error> {
        for account in &self.tenant.accounts {
            if dice.chance(TRACE_SHARE) {
                let (category, container) = side::TRACE;
                let mut blob = archive.blob(container, &Scope::Resource(&account.id), hour, Layout::default());
                let (correlation, at) = (dice.guid(), hour + dice.between(0, HOUR));
                blob.record(category, |out| side::push_trace(out, account, correlation, at))?;
                archive.finish(blob)?;
            }
        }
        for subscription in &self.tenant.subscriptions {
            if dice.chance(NETWORK_SHARE) {
                let (category, container) = side::NETWORK;
                let id = side::network_group_id(subscription);
                let mut blob = archive.blob(container, &Scope::Resource(&id), hour, Layout::default());
                let at = hour + dice.between(0, HOUR);
                blob.record(category, |out| side::push_network(out, &id, at))?;
                archive.finish(blob)?;
            }
        }
        Ok(())
    }
}

/// Sign-ins with an American envelope time.
const UNITED_STATES_SHARE: f64 = 0.02;
/// Hours in which an account leaves a trace.
const TRACE_SHARE: f64 = 0.1;
/// Hours in which a subscription logs a network rule.
const NETWORK_SHARE: f64 = 0.2;
