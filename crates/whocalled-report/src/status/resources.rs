//! What is committed of each resource, by container.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use whocalled_lake::{BlobState, hour_begin};
use whocalled_types::{BlobName, BlobPhase, BlobScope};

use super::{Columns, show_bytes, show_duration};
use crate::error::Error;
use crate::session::Answer;

/// How many characters of a category and of a resource's name a row for people shows, so that it fits
/// 120 columns.
const CATEGORY_CHARACTERS_MAX: usize = 28;
const NAME_CHARACTERS_MAX: usize = 26;

/// The blobs of one resource in one container.
#[derive(Debug, Default)]
pub(super) struct Resource {
    container: String,
    category: String,
    /// The resource's id, or the tenant's; empty for a name that has neither.
    id: String,
    blobs: u64,
    open: u64,
    quiet: u64,
    sealed: u64,
    gone: u64,
    committed_bytes: u64,
    left_bytes: u64,
    rows: u64,
    rejects: u64,
    /// When the newest hour begins.
    newest_hour: Option<DateTime<Utc>>,
    modified_at: Option<DateTime<Utc>>,
    last_batch: i64,
    committed_at: DateTime<Utc>,
    lag: Option<TimeDelta>,
}

/// Adds up the last generation of every blob.
pub(super) fn of(states: &BTreeMap<String, BlobState>, seal_after: TimeDelta, now: DateTime<Utc>) -> Vec<Resource> {
    let mut resources: BTreeMap<(String, String), Resource> = BTreeMap::new();
    for (column, state) in states {
        let name = BlobName::from_column(column);
        let name = name.unwrap_or_else(|| BlobName { container: column.clone(), name: String::new() });
        let id = match name.scope() {
            Some(BlobScope::Resource(id) | BlobScope::Tenant(id)) => id,
            None => String::new(),
        };
        let resource = resources.entry((name.container.clone(), id.clone())).or_insert_with(|| Resource {
            category: name.category().to_owned(),
            container: name.container.clone(),
            id,
            ..Resource::default()
        });
        resource.add(state, state.phase(column, seal_after, now));
        resource.newest_hour = resource.newest_hour.max(hour_begin(&name));
    }
    let mut resources: Vec<Resource> = resources.into_values().collect();
    for it in &mut resources {
        let known_until = it.newest_hour.map(|begin| begin + TimeDelta::hours(1)).or(it.modified_at);
        it.lag = known_until.map(|until| (now - until).max(TimeDelta::zero()));
    }
    resources
}

impl Resource {
    fn add(&mut self, state: &BlobState, phase: BlobPhase) {
        self.blobs += 1;
        match phase {
            BlobPhase::Open => self.open += 1,
            BlobPhase::Quiet => self.quiet += 1,
            BlobPhase::Sealed => self.sealed += 1,
            BlobPhase::Gone => self.gone += 1,
        }
        self.committed_bytes += state.position.bytes;
        self.left_bytes += state.left_bytes();
        self.rows += state.row_count;
        self.rejects += state.reject_count;
        self.modified_at = self.modified_at.max(state.modified_at);
        self.last_batch = self.last_batch.max(state.last_batch);
        self.committed_at = self.committed_at.max(state.committed_at);
    }

    /// The resource's own name: the last part of its id.
    fn name(&self) -> &str {
        self.id.rsplit('/').next().unwrap_or_default()
    }
}

/// A column for each figure.
pub(super) fn for_programs(resources: &[Resource]) -> Result<Answer, Error> {
    Columns::of(resources)
        .text("container", |it| Some(&it.container))
        .text("category", |it| Some(&it.category))
        .text("resource", |it| Some(&it.id))
        .count("blobs", |it| Some(it.blobs))
        .count("open", |it| Some(it.open))
        .count("quiet", |it| Some(it.quiet))
        .count("sealed", |it| Some(it.sealed))
        .count("gone", |it| Some(it.gone))
        .count("committed_bytes", |it| Some(it.committed_bytes))
        .count("left_bytes", |it| Some(it.left_bytes))
        .count("rows", |it| Some(it.rows))
        .count("rejects", |it| Some(it.rejects))
        .instant("newest_hour", |it| it.newest_hour)
        .count("lag_seconds", |it| it.lag.and_then(|lag| u64::try_from(lag.num_seconds()).ok()))
        .instant("last_modified_at", |it| it.modified_at)
        .count("last_batch", |it| u64::try_from(it.last_batch).ok())
        .instant("last_committed_at", |it| Some(it.committed_at))
        .answer()
}

/// Two lines for each resource, because one would be too wide.
pub(super) fn for_people(resources: &[Resource], now: DateTime<Utc>) -> Result<Answer, Error> {
    let pair = |width: usize, first: &str, second: &str| Some(format!("{first:>width$}\n{second:>width$}"));
    Columns::of(resources)
        .text("category, resource", |it| {
            let category = shortened(&it.category, CATEGORY_CHARACTERS_MAX);
            Some(format!("{category}\n  {}", shortened(it.name(), NAME_CHARACTERS_MAX)))
        })
        .count("blobs", |it| Some(it.blobs))
        .count("open", |it| Some(it.open))
        .count("quiet", |it| Some(it.quiet))
        .count("sealed", |it| Some(it.sealed))
        .count("gone", |it| Some(it.gone))
        .text("committed, left", |it| pair(15, &show_bytes(it.committed_bytes), &show_bytes(it.left_bytes)))
        .text("rows, rejects", |it| pair(13, &it.rows.to_string(), &it.rejects.to_string()))
        .text("newest, lag", |it| {
            let hour = it.newest_hour.map(|hour| hour.format("%m-%d %Hh").to_string()).unwrap_or_default();
            pair(11, &hour, &it.lag.map(show_duration).unwrap_or_default())
        })
        .text("batch, ago", |it| pair(10, &it.last_batch.to_string(), &show_duration(now - it.committed_at)))
        .answer()
}

fn shortened(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    text.chars().take(characters_max - 1).chain(['…']).collect()
}
