//! Whether a place is a lake, may become one, or is something else; and how it becomes one.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use serde::{Deserialize, Serialize};
use whocalled_types::Table;

use crate::failpoint::{CREATE_BEFORE_MARKER, CREATE_TABLE};
use crate::layout::Layout;
use crate::location::Storage;
use crate::{Error, Failpoints, LakeLocation, StorageOptions};

/// The file that makes a place a lake. It is written last.
pub(crate) const MARKER: &str = "whocalled-lake.json";
/// The format that this version writes, and the newest that it reads.
const FORMAT: u64 = 1;
/// The directory of a table's Delta log.
const LOG: &str = "_delta_log";

/// What the marker says.
#[derive(Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(crate) format: u64,
    pub(crate) created_by: String,
}

/// Connects to a lake that exists.
pub(crate) async fn connect(location: &LakeLocation, options: &StorageOptions) -> Result<Storage, Error> {
    location.check_directory(false).await?;
    let storage = Storage::connect(location, options)?;
    if !read_marker(location, storage.store()).await? {
        check_vacant(location, storage.store()).await?;
        return Err(Error::Missing { location: location.to_string() });
    }
    Ok(storage)
}

/// Whether there is a lake; an error if it is one that this version cannot read.
pub(crate) async fn read_marker(location: &LakeLocation, store: &Arc<dyn ObjectStore>) -> Result<bool, Error> {
    let failed = |error| Error::storage(location.to_string(), error);
    let bytes = match store.get(&Path::from(MARKER)).await {
        Ok(found) => found.bytes().await.map_err(failed)?,
        Err(object_store::Error::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    // Only the format is read first: a newer version may have changed the rest.
    let marker: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| Error::damaged(MARKER, error.to_string()))?;
    let format = marker.get("format").and_then(serde_json::Value::as_u64);
    match format {
        Some(FORMAT) => Ok(true),
        Some(format) if format > FORMAT => {
            let created_by = marker.get("created_by").and_then(|it| it.as_str()).unwrap_or("a newer version");
            Err(Error::Newer {
                location: location.to_string(),
                format,
                supported: FORMAT,
                created_by: created_by.to_owned(),
            })
        }
        _ => Err(Error::damaged(MARKER, "it names no known format")),
    }
}

/// Fails if there is anything but the tables of a lake whose creation was interrupted.
pub(crate) async fn check_vacant(location: &LakeLocation, store: &Arc<dyn ObjectStore>) -> Result<(), Error> {
    let foreign = |found: &Path| Error::Foreign { location: location.to_string(), found: found.to_string() };
    let list = async |prefix: Option<&Path>| match store.list_with_delimiter(prefix).await {
        Err(object_store::Error::NotFound { .. }) => Ok((Vec::new(), Vec::new())),
        Err(error) => Err(Error::storage(location.to_string(), error)),
        Ok(found) => Ok((found.objects, found.common_prefixes)),
    };
    let (objects, directories) = list(None).await?;
    if let Some(object) = objects.first() {
        return Err(foreign(&object.location));
    }
    for directory in directories {
        if Table::from_name(directory.as_ref()).is_none() {
            return Err(foreign(&directory));
        }
        let (objects, below) = list(Some(&directory)).await?;
        if let Some(object) = objects.first() {
            return Err(foreign(&object.location));
        }
        if let Some(other) = below.iter().find(|it| it.filename() != Some(LOG)) {
            return Err(foreign(other));
        }
    }
    Ok(())
}

/// Makes every table, all of them at the same time, then the marker. What an interrupted creation has made is kept.
pub(crate) async fn create(
    location: &LakeLocation,
    storage: &Storage,
    layouts: &BTreeMap<Table, Layout>,
    failpoints: &Failpoints,
) -> Result<(), Error> {
    let make = async |(table, layout): (&Table, &Layout)| {
        let delta = storage.table(table.name())?;
        let exists = delta.verify_deltatable_existence().await;
        if !exists.map_err(|error| Error::delta(table, "read", error))? {
            layout.create(&delta, table.name()).await?;
        }
        failpoints.hit(CREATE_TABLE)
    };
    // Each to its end, however the others end: delta-rs panics where a process ends in the middle of it.
    join_all(layouts.iter().map(make)).await.into_iter().collect::<Result<(), _>>()?;
    failpoints.hit(CREATE_BEFORE_MARKER)?;
    let marker = Marker { format: FORMAT, created_by: format!("whocalled {}", env!("CARGO_PKG_VERSION")) };
    let bytes = serde_json::to_vec(&marker).map_err(|error| Error::damaged(MARKER, error.to_string()))?;
    match storage.store().put_opts(&Path::from(MARKER), bytes.into(), PutMode::Create.into()).await {
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(Error::write(location.to_string(), error)),
    }
}
