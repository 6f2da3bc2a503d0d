//! Where a lake is, and the object store that reaches it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deltalake::DeltaTable;
use deltalake::logstore::{StorageConfig, logstore_with, object_store_factories};
use object_store::ObjectStore;
use url::Url;

use crate::{Error, Failpoints};

/// The URL schemes of Azure Storage that are accepted.
const AZURE_SCHEMES: [&str; 5] = ["abfss", "abfs", "az", "azure", "adl"];

/// Where a lake (or an exported table) is: a local directory, or a place in a Storage Account.
#[derive(Clone, PartialEq, Eq)]
pub struct LakeLocation {
    /// Ends in a slash, so that `join` goes below it.
    url: Url,
    /// For a local directory, as the user wrote it.
    directory: Option<PathBuf>,
}

impl LakeLocation {
    /// Reads a directory path, a `file://` URL, or
    /// `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH` (also `abfs`, `az`, `azure`, `adl`).
    /// A relative path is taken from the working directory. Nothing is looked up or created.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |reason: &str| Error::Location {
            location: text.split('?').next().unwrap_or_default().to_owned(),
            reason: reason.to_owned(),
        };
        if text.is_empty() {
            return Err(refuse("it is empty; give a directory or an abfss:// URL"));
        }
        let mut url = match Url::parse(text) {
            // A single letter is a Windows drive.
            Ok(url) if url.scheme().len() > 1 && text.contains("://") => url,
            _ => return Self::directory(Path::new(text)),
        };
        if url.scheme() == "file" {
            let path = url.to_file_path().map_err(|()| refuse("the file:// URL has no local path"))?;
            return Self::directory(&path);
        }
        if !AZURE_SCHEMES.contains(&url.scheme()) {
            return Err(refuse(
                "its URL scheme is unknown; give a directory or abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() || url.password().is_some() {
            return Err(refuse("it carries more than a path; give a SAS or a key as a storage option"));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self { url, directory: None })
    }

    /// A local directory.
    fn directory(path: &Path) -> Result<Self, Error> {
        let refuse = |reason: &str| Error::Location { location: path.display().to_string(), reason: reason.to_owned() };
        let absolute = std::path::absolute(path).map_err(|_| refuse("it has no absolute form"))?;
        let url = Url::from_directory_path(&absolute).map_err(|()| refuse("it cannot be written as a file:// URL"))?;
        Ok(Self { url, directory: Some(path.to_owned()) })
    }

    /// A place in a store that only a test knows.
    #[cfg(test)]
    pub(crate) fn of_test(url: Url) -> Self {
        Self { url, directory: None }
    }

    /// The place of that name below this one. `name` is one path segment.
    pub fn join(&self, name: &str) -> Result<Self, Error> {
        let url = self
            .url
            .join(&format!("{name}/"))
            .map_err(|error| Error::Location { location: format!("{self}/{name}"), reason: error.to_string() })?;
        Ok(Self { url, directory: self.directory.as_ref().map(|it| it.join(name)) })
    }

    /// The local directory, if it is one.
    pub fn as_directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Fails if something on the way to a local directory, or it itself, is a file; creates it and
    /// its parents when asked to.
    pub(crate) async fn check_directory(&self, create: bool) -> Result<(), Error> {
        let Some(directory) = &self.directory else { return Ok(()) };
        match tokio::fs::metadata(directory).await {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(Error::NotADirectory { location: self.to_string() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && create => {
                tokio::fs::create_dir_all(directory).await.map_err(|error| Error::io_write(self.to_string(), error))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::Missing { location: self.to_string() })
            }
            Err(error) => Err(Error::io(self.to_string(), error)),
        }
    }
}

impl fmt::Display for LakeLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.directory {
            Some(directory) => write!(f, "{}", directory.display()),
            None => f.write_str(self.url.as_str().trim_end_matches('/')),
        }
    }
}

impl fmt::Debug for LakeLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LakeLocation({self})")
    }
}

/// How to reach a lake's storage: the options of `object_store`, such as `account_key`,
/// `sas_token`, `use_azure_cli`, `endpoint`, `allow_http`. Their values are never printed.
#[derive(Clone, Default)]
pub struct StorageOptions {
    values: BTreeMap<String, String>,
    pub(crate) failpoints: Failpoints,
}

impl StorageOptions {
    /// Sets one option.
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.values.insert(key.into(), value.into());
        self
    }

    /// Stops at failpoints, for tests.
    pub fn with_failpoints(mut self, failpoints: Failpoints) -> Self {
        self.failpoints = failpoints;
        self
    }
}

impl From<BTreeMap<String, String>> for StorageOptions {
    fn from(values: BTreeMap<String, String>) -> Self {
        Self { values, failpoints: Failpoints::default() }
    }
}

impl fmt::Debug for StorageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// One connection to the storage of a location, shared by all tables in it.
#[derive(Clone)]
pub(crate) struct Storage {
    url: Url,
    config: StorageConfig,
    /// Rooted at the whole file system or container.
    root: Arc<dyn ObjectStore>,
    /// Rooted at the location.
    store: Arc<dyn ObjectStore>,
}

impl Storage {
    /// Prepares the connection; no request is made yet.
    pub(crate) fn connect(location: &LakeLocation, options: &StorageOptions) -> Result<Self, Error> {
        let refuse = |error: deltalake::DeltaTableError| Error::Location {
            location: location.to_string(),
            reason: error.to_string(),
        };
        deltalake::azure::register_handlers(None);
        let config = StorageConfig::parse_options(options.values.clone()).map_err(refuse)?;
        let scheme = Url::parse(&format!("{}://", location.url.scheme()))
            .map_err(|error| refuse(deltalake::DeltaTableError::Generic(error.to_string())))?;
        let factories = object_store_factories();
        let factory = factories
            .get(&scheme)
            .ok_or_else(|| refuse(deltalake::DeltaTableError::Generic("its URL scheme is unknown".to_owned())))?;
        let (root, _) = factory.value().parse_url_opts(&location.url, &config).map_err(refuse)?;
        let store = config.decorate_store(Arc::clone(&root), &location.url).map_err(refuse)?;
        Ok(Self { url: location.url.clone(), config, root, store: Arc::from(store) })
    }

    /// The store, rooted at the location.
    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The Delta table in a directory of the location, or at the location itself for an empty
    /// name; not loaded.
    pub(crate) fn table(&self, directory: &str) -> Result<DeltaTable, Error> {
        let below = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let url = self
            .url
            .join(&below)
            .map_err(|error| Error::Location { location: directory.to_owned(), reason: error.to_string() })?;
        let log_store = logstore_with(Arc::clone(&self.root), &url, self.config.clone())
            .map_err(|error| Error::delta(directory, "read", error))?;
        Ok(DeltaTable::new(log_store))
    }
}
