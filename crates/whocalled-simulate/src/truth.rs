//! What really happened, beside the archive: every call with its maker, every principal, every
//! grant. Nothing that reads the archive may read this, other than to judge it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use crate::{
    Error,
    archive::create,
    control::{Client, Deed},
    records::call::Call,
    schedule::{Caller, Means, Schedule, Who},
    tenant::Tenant,
    text::{Ticks, TimeForm, push_int, push_prefix, push_time},
};

/// A file of comma-separated values, none of which holds a comma or a quotation mark.
struct Table {
    path: PathBuf,
    file: File,
    piece: Vec<u8>,
}

/// How much of a file is held before it is written.
const PIECE_BYTES: usize = 128 << 10;

impl Table {
    fn new(path: PathBuf, header: &str) -> Result<Self, Error> {
        let file = create(&path)?;
        Ok(Self { path, file, piece: format!("{header}\n").into_bytes() })
    }

    /// Ends the row that was appended to the piece.
    fn end_row(&mut self) -> Result<(), Error> {
        // Every field is written with a comma behind it, so the last one makes way for the line end.
        self.piece.pop();
        self.piece.push(b'\n');
        if self.piece.len() >= PIECE_BYTES { self.write_piece() } else { Ok(()) }
    }

    fn write_piece(&mut self) -> Result<(), Error> {
        self.file.write_all(&self.piece).map_err(Error::io("write", &self.path))?;
        self.piece.clear();
        Ok(())
    }

    fn field(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.piece);
        self.piece.push(b',');
    }

    fn text(&mut self, value: &str) {
        self.field(|out| out.extend_from_slice(value.as_bytes()));
    }

    fn time(&mut self, at: Ticks) {
        self.field(|out| push_time(out, at, TimeForm::Six));
    }

    fn bool(&mut self, value: bool) {
        self.text(if value { "true" } else { "false" });
    }
}

/// `calls.csv`: one row per distinct call, in no particular order.
pub(crate) struct CallTruth {
    table: Table,
    /// Calls by tier.
    pub(crate) tiers: BTreeMap<&'static str, u64>,
}

impl CallTruth {
    pub(crate) fn new(directory: &Path) -> Result<Self, Error> {
        const HEADER: &str = "correlation_id,account,time,request_time,principal_id,principal_kind,tier,reason,prefix,\
                              address_hidden,stranger,status,client_id";
        Ok(Self { table: Table::new(directory.join("calls.csv"), HEADER)?, tiers: BTreeMap::new() })
    }

    /// Adds a call: who made it, from which network, and the user behind it where the caller is a gateway.
    pub(crate) fn add(
        &mut self,
        tenant: &Tenant,
        account: usize,
        caller: &Caller,
        call: &Call<'_>,
        prefix: [u8; 3],
        client_id: &str,
    ) -> Result<(), Error> {
        let (tier, reason) = tier(caller, call.request_at);
        *self.tiers.entry(tier).or_default() += 1;
        let (principal_id, principal_kind) = match caller.who {
            Who::Principal(index) => {
                (tenant.principals[index].object_id.as_str(), tenant.principals[index].kind.name())
            }
            Who::Stranger(_) => ("", ""),
        };
        let table = &mut self.table;
        table.field(|out| call.correlation.into_iter().for_each(|it| it.push(out)));
        table.text(&tenant.accounts[account].id_lower);
        table.time(call.logged_at);
        table.time(call.request_at);
        table.text(principal_id);
        table.text(principal_kind);
        table.text(tier);
        table.text(reason);
        table.field(|out| push_prefix(out, prefix));
        table.bool(call.address.is_none());
        table.bool(matches!(caller.who, Who::Stranger(_)));
        table.field(|out| push_int(out, i64::from(call.status)));
        table.text(client_id);
        table.end_row()
    }

    pub(crate) fn finish(mut self) -> Result<BTreeMap<&'static str, u64>, Error> {
        self.table.write_piece()?;
        Ok(self.tiers)
    }
}

/// The best that the logs allow to be said of a call, and why not more.
fn tier(caller: &Caller, at: Ticks) -> (&'static str, &'static str) {
    match (caller.means, caller.who) {
        (Means::Entra, _) => ("object_id", ""),
        _ if !caller.is_authenticated(at) => ("none", "unauthenticated"),
        (_, Who::Stranger(_)) => ("none", "stranger"),
        _ if caller.is_seen_holder(at) => ("key_holder", ""),
        _ => ("none", "no_grant_seen"),
    }
}

/// Writes `principals.csv`: everybody in the tenant, where they call from, and which accounts they
/// call by key and by token.
pub(crate) fn write_principals(directory: &Path, tenant: &Tenant, schedule: &Schedule) -> Result<(), Error> {
    const HEADER: &str = "principal_id,principal_kind,name,display_name,app_id,tenant_id,principal_resource_id,\
                          home_prefix,office_prefix,address_hidden,runs_gateway,key_accounts,token_accounts";
    let mut table = Table::new(directory.join("principals.csv"), HEADER)?;
    let mut accounts = vec![[Vec::new(), Vec::new()]; tenant.principals.len()];
    for (account, callers) in schedule.callers.iter().enumerate() {
        for caller in callers {
            let Who::Principal(principal) = caller.who else { continue };
            let [by_key, by_token] = &mut accounts[principal];
            let by_means = if matches!(caller.means, Means::Entra) { by_token } else { by_key };
            by_means.push(tenant.accounts[account].id_lower.rsplit('/').next().unwrap_or_default());
        }
    }
    for (index, (it, [by_key, by_token])) in tenant.principals.iter().zip(accounts).enumerate() {
        table.text(&it.object_id);
        table.text(it.kind.name());
        table.text(&it.name);
        table.text(&it.display_name);
        table.text(&it.app_id);
        table.text(&tenant.tenant_ids[it.tenant]);
        table.text(&it.managed_resource.to_ascii_lowercase());
        table.field(|out| push_prefix(out, it.home.prefix));
        table.field(|out| tenant.office_prefix(it).into_iter().for_each(|prefix| push_prefix(out, prefix)));
        table.bool(it.address_hidden);
        table.bool(tenant.gateway.as_ref().is_some_and(|gateway| gateway.principal == index));
        table.text(&by_key.join(";"));
        table.text(&by_token.join(";"));
        table.end_row()?;
    }
    table.write_piece()
}

/// Writes `grants.csv`: every attempt to obtain a key that is in the logs, and its outcome. Returns
/// how many succeeded.
pub(crate) fn write_grants(directory: &Path, tenant: &Tenant, schedule: &Schedule) -> Result<u64, Error> {
    const HEADER: &str = "correlation_id,account,time,principal_id,principal_kind,operation,key_name,client,\
                          deliberate,outcome,prefix";
    let mut table = Table::new(directory.join("grants.csv"), HEADER)?;
    let mut grant_count = 0;
    for event in &schedule.events {
        let Some(actor) = event.actor else { continue };
        let (operation, key_name) = match event.deed {
            Deed::ListKeys { .. } => ("listKeys", ""),
            Deed::RegenerateKey { number } => ("regenerateKey", ["Key1", "Key2"][number]),
            Deed::WriteDeployment | Deed::AssignRole | Deed::WriteDiagnosticSetting | Deed::ChangeHealth => continue,
        };
        let principal = &tenant.principals[actor.principal];
        let succeeded = event.granted_to().is_some();
        grant_count += u64::from(succeeded);
        table.field(|out| event.correlation.push(out));
        table.text(&tenant.accounts[event.account].id_lower);
        table.time(event.at);
        table.text(&principal.object_id);
        table.text(principal.kind.name());
        table.text(operation);
        table.text(key_name);
        table.text(actor.client.name());
        table.bool(actor.client != Client::Portal);
        table.text(if succeeded { "success" } else { "failure" });
        table.field(|out| push_prefix(out, actor.address.prefix));
        table.end_row()?;
    }
    table.write_piece()?;
    Ok(grant_count)
}
