//! The lake: whether it is one, whether it can be written to, and whether there is room.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};
use whocalled_lake::{Error, Lake, LakeLocation};
use whocalled_types::{Limits, Table};

use super::Area::Lake as AREA;
use super::{Line, counted, reason};
use crate::context::{Context, show_bytes};

/// How much room a run and a compaction had better have, at least.
const FREE_BYTES_WARN: u64 = 2 << 30;

/// All checks of the lake.
pub(super) async fn check(context: &Context, given: Option<&String>) -> Vec<Line> {
    if given.is_none() && context.settings.lake.is_none() {
        return vec![Line::warn(AREA, "lake", "none was given, so none was looked at", "add --lake LAKE")];
    }
    let location = match context.lake_location(given) {
        Ok(location) => location,
        Err(error) => return vec![Line::fail(AREA, "lake", reason(error), "give another location")],
    };
    let mut lines = Vec::new();
    let mut bytes = 0;
    match context.lake(given).await {
        Ok(lake) => {
            bytes = Table::ALL.iter().filter_map(|table| lake.files(*table).ok()).flatten().map(|it| it.bytes).sum();
            lines.push(identity(&lake, bytes).await);
            lines.extend(unapplied(&lake));
            lines.push(writing(&lake).await);
        }
        Err(error) => match error.downcast_ref() {
            Some(Error::Missing { .. }) => lines.extend(absent(&location)),
            known => {
                let next = known.map_or("see docs/how-to/troubleshooting.md, section 4", remedy);
                lines.push(Line::fail(AREA, "lake", reason(error), next));
            }
        },
    }
    lines.extend(location.as_directory().map(|directory| disk(directory, bytes)));
    lines
}

fn remedy(error: &Error) -> &'static str {
    match error {
        Error::Newer { .. } => "use that version of whocalled, or a newer one",
        Error::Foreign { .. } | Error::NotADirectory { .. } => "name another directory; nothing was touched here",
        Error::Location { .. } => "give a directory or abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH",
        _ => "see docs/how-to/troubleshooting.md, section 4",
    }
}

async fn identity(lake: &Lake, bytes: u64) -> Line {
    let blobs = match lake.positions().await {
        Ok(positions) => counted(positions.len() as u64, "blob"),
        Err(error) => return Line::fail(AREA, "lake", reason(error), "see docs/how-to/troubleshooting.md, section 4"),
    };
    let made_by = match lake.made_by().await {
        Ok((format, version)) => format!("format {format}, made by {version}"),
        Err(error) => return Line::fail(AREA, "lake", reason(error), "see docs/how-to/troubleshooting.md, section 4"),
    };
    let found = format!("{}: {made_by}; batch {}, {blobs}, {}", lake.location(), lake.last_batch(), show_bytes(bytes));
    Line::pass(AREA, "lake", found)
}

/// Whether the last batch has still to be brought to some tables.
fn unapplied(lake: &Lake) -> Option<Line> {
    let tables: Vec<&str> = lake.unapplied().map(|table| table.name()).collect();
    (!tables.is_empty()).then(|| {
        let found = format!("batch {} is decided and not in {} yet", lake.last_batch(), tables.join(", "));
        Line::warn(AREA, "recovery", found, "nothing: the next `convert` applies it, and queries see it already")
    })
}

async fn writing(lake: &Lake) -> Line {
    let name = uuid::Uuid::new_v4().to_string();
    match lake.probe_writing(&name).await {
        Ok(()) => Line::pass(AREA, "lake writing", "an object was written and deleted"),
        Err(error) => {
            let next =
                "let the user that runs whocalled write there; in a Storage Account: Storage Blob Data Contributor";
            Line::fail(AREA, "lake writing", reason(error), next)
        }
    }
}

/// There is no lake yet; whether one can be made.
fn absent(location: &LakeLocation) -> Vec<Line> {
    let mut lines =
        vec![Line::warn(AREA, "lake", format!("there is none at {location} yet"), "run `convert`, which makes it")];
    if let Some(directory) = location.as_directory() {
        let parent = existing(directory);
        lines.push(match access(&parent, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Line::pass(AREA, "lake writing", format!("{} can be written to", parent.display())),
            Err(error) => Line::fail(
                AREA,
                "lake writing",
                format!("{} cannot be written to: {error}", parent.display()),
                "name a directory that the user who runs whocalled can write to",
            ),
        });
    }
    lines
}

/// Room on the disk of a local lake. A compaction writes what it replaces once more.
fn disk(directory: &Path, lake_bytes: u64) -> Line {
    let place = existing(directory);
    let free = match statvfs(&place) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => {
            let found = format!("{}: free space is not known: {error}", place.display());
            return Line::warn(AREA, "disk", found, "look at it by hand");
        }
    };
    let found = format!("{} free", show_bytes(free));
    if free < Limits::STANDARD.batch_bytes_max {
        return Line::fail(AREA, "disk", found, "make room: a batch may not fit");
    }
    let wanted = FREE_BYTES_WARN.max(lake_bytes);
    if free < wanted {
        let next = format!("make room: up to {} are needed while files are compacted", show_bytes(wanted));
        return Line::warn(AREA, "disk", found, next);
    }
    Line::pass(AREA, "disk", found)
}

/// The directory itself, or the nearest above it that exists.
fn existing(directory: &Path) -> PathBuf {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    absolute.ancestors().find(|it| it.is_dir()).unwrap_or(Path::new("/")).to_owned()
}
