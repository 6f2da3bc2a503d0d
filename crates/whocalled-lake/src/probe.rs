//! What is looked at before a run is trusted to a lake: what it says of itself, and whether it can be
//! written to.

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use crate::create::{MARKER, Marker};
use crate::{Error, Lake};

/// The directory of what is written to see that it can be. Delta and a vacuum pass over it.
const PROBE: &str = "_probe";

impl Lake {
    /// The format of the lake, and the version that made it.
    ///
    /// # Errors
    /// Whatever keeps the marker from being read.
    pub async fn made_by(&self) -> Result<(u64, String), Error> {
        let failed = |error| Error::storage(self.location.to_string(), error);
        let found = self.storage.store().get(&Path::from(MARKER)).await.map_err(failed)?;
        let bytes = found.bytes().await.map_err(failed)?;
        let marker: Marker =
            serde_json::from_slice(&bytes).map_err(|error| Error::damaged(MARKER, error.to_string()))?;
        Ok((marker.format, marker.created_by))
    }

    /// Writes an object `_probe/NAME` and deletes it again. `name` is to be one that nobody else uses.
    ///
    /// # Errors
    /// Whatever keeps it from being written or deleted.
    pub async fn probe_writing(&self, name: &str) -> Result<(), Error> {
        let path = Path::from_iter([PROBE, name]);
        let failed = |error| Error::storage(self.location.to_string(), error);
        self.storage
            .store()
            .put(&path, PutPayload::from_static(b"written to see that it can be\n"))
            .await
            .map_err(failed)?;
        self.storage.store().delete(&path).await.map_err(failed)?;
        if let Some(directory) = self.location.as_directory() {
            // Another probe may be using it.
            drop(tokio::fs::remove_dir(directory.join(PROBE)).await);
        }
        Ok(())
    }
}
