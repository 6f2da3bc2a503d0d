//! Where an archive is, read from what its user wrote.

use std::path::PathBuf;

use azure_core::http::Url;
use url::Host;
use whocalled_types::is_log_container;

use crate::{Error, Secret};

/// A parsed archive location.
#[derive(Debug)]
pub(crate) enum Location {
    Directory(PathBuf),
    Account(AccountUrl),
}

/// The URL of a Storage Account's blob service, taken apart.
#[derive(Debug)]
pub(crate) struct AccountUrl {
    /// The blob service, without query and trailing slash.
    pub(crate) endpoint: Url,
    /// The account's name; `None` where the host is a custom domain, which does not tell.
    pub(crate) account: Option<String>,
    /// The one container that the URL names, if it names one.
    pub(crate) container: Option<String>,
    /// The URL's query.
    pub(crate) sas: Option<Secret>,
}

impl Location {
    /// Reads a directory's path, or an account's URL: `https://ACCOUNT.blob.core.windows.net` (or
    /// another cloud's or custom domain), or the form of Azurite and other emulators with the
    /// account in the path, `http://127.0.0.1:10000/ACCOUNT`. Either may end in a container, and may
    /// have a SAS as its query.
    pub(crate) fn parse(location: &str) -> Result<Self, Error> {
        // An error must not show the SAS, wherever parsing fails.
        let shown = location.split('?').next().unwrap_or_default();
        let refuse = |reason: &str| Error::Location { location: shown.to_owned(), reason: reason.to_owned() };
        if location.trim().is_empty() {
            return Err(refuse("it is empty; give a directory or the URL of a Storage Account"));
        }
        if location.contains("AccountName=") {
            return Err(Error::Location {
                location: "(connection string)".to_owned(),
                reason: "it is a connection string; give the account's URL, and its key by the setting for it"
                    .to_owned(),
            });
        }
        if !location.contains("://") {
            return Ok(Self::Directory(PathBuf::from(location)));
        }
        let url = Url::parse(location).map_err(|error| refuse(&format!("it is not a URL: {error}")))?;
        AccountUrl::parse(url, refuse).map(Self::Account)
    }
}

impl AccountUrl {
    fn parse(mut url: Url, refuse: impl Fn(&str) -> Error) -> Result<Self, Error> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("give a directory, or a URL such as https://ACCOUNT.blob.core.windows.net"));
        }
        if url.username() != "" || url.password().is_some() {
            return Err(refuse("it holds a user name or password; give a SAS or an account key instead"));
        }
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        if let Some((account, domain)) = host.split_once(".dfs.") {
            return Err(refuse(&format!("logs are read from the blob endpoint: give https://{account}.blob.{domain}")));
        }
        let sas = url.query().filter(|query| !query.is_empty()).map(Secret::new);
        url.set_query(None);
        url.set_fragment(None);

        let mut segments: Vec<String> =
            url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let account_in_path = match url.host() {
            Some(Host::Domain(_)) => !host.contains('.'),
            _ => true,
        };
        let account = if account_in_path {
            if segments.is_empty() {
                return Err(refuse("the account's name is missing: give it as the first part of the path"));
            }
            Some(segments.remove(0))
        } else {
            host.split_once(".blob.").map(|(account, _)| account.to_owned())
        };
        let container = (!segments.is_empty()).then(|| segments.remove(0));
        if !segments.is_empty() {
            return Err(refuse("its path goes on after the container; give the account, or one container of it"));
        }
        if container.as_deref().is_some_and(|container| !is_log_container(container)) {
            return Err(refuse(
                "its path names no container that diagnostic settings write to, such as insights-logs-audit",
            ));
        }
        url.set_path(if account_in_path { account.as_deref().unwrap_or_default() } else { "" });
        Ok(Self { endpoint: url, account, container, sas })
    }

    /// The endpoint as text, without trailing slash: the archive's identity.
    pub(crate) fn identity(&self) -> String {
        self.endpoint.as_str().trim_end_matches('/').to_owned()
    }

    /// The host, with the port where the URL has one.
    pub(crate) fn host(&self) -> String {
        let host = self.endpoint.host_str().unwrap_or_default();
        self.endpoint.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(location: &str) -> AccountUrl {
        match Location::parse(location) {
            Ok(Location::Account(account)) => account,
            other => panic!("{location}: {other:?}"),
        }
    }

    #[test]
    fn account_in_the_host_and_account_in_the_path() {
        for (location, identity, name, container) in [
            ("https://Logs1.blob.core.windows.net", "https://logs1.blob.core.windows.net", Some("logs1"), None),
            (
                "https://logs1.blob.core.usgovcloudapi.net/insights-logs-audit/",
                "https://logs1.blob.core.usgovcloudapi.net",
                Some("logs1"),
                Some("insights-logs-audit"),
            ),
            ("https://logs.example.com/", "https://logs.example.com", None, None),
            (
                "http://127.0.0.1:10000/devstoreaccount1/",
                "http://127.0.0.1:10000/devstoreaccount1",
                Some("devstoreaccount1"),
                None,
            ),
            (
                "http://localhost:10000/devstoreaccount1/insights-activity-logs",
                "http://localhost:10000/devstoreaccount1",
                Some("devstoreaccount1"),
                Some("insights-activity-logs"),
            ),
        ] {
            let it = account(location);
            assert_eq!(
                (it.identity().as_str(), it.account.as_deref(), it.container.as_deref(), it.sas.is_some()),
                (identity, name, container, false),
                "{location}"
            );
        }
    }

    #[test]
    fn the_sas_is_taken_off_and_never_shown() {
        let it = account("https://logs1.blob.core.windows.net/?sv=2022-11-02&sig=topsecret%3D");
        assert_eq!(it.sas.as_ref().map(Secret::expose), Some("sv=2022-11-02&sig=topsecret%3D"));
        assert!(!format!("{it:?}").contains("topsecret"));
        for location in ["https://a b/?sig=topsecret", "ftp://h/?sig=topsecret", "http://127.0.0.1:1/?sig=topsecret"] {
            let error = Location::parse(location).err().map(|error| format!("{error} {error:?}")).unwrap_or_default();
            assert!(error.contains("cannot be used") && !error.contains("topsecret"), "{error}");
        }
    }

    #[test]
    fn what_is_no_archive_says_what_to_give() {
        for (location, words) in [
            ("", "it is empty"),
            ("abfss://c@a.dfs.core.windows.net/x", "https://ACCOUNT.blob.core.windows.net"),
            ("https://a.dfs.core.windows.net", "https://a.blob.core.windows.net"),
            ("http://127.0.0.1:10000", "account's name is missing"),
            ("https://a.blob.core.windows.net/pictures", "insights-logs-audit"),
            ("https://a.blob.core.windows.net/insights-logs-audit/x/y", "goes on after the container"),
            ("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=k", "connection string"),
        ] {
            let error = Location::parse(location).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(words), "{location}: {error}");
        }
    }

    #[test]
    fn everything_else_is_a_directory() {
        assert!(
            matches!(Location::parse("./archive?1"), Ok(Location::Directory(path)) if path.as_os_str() == "./archive?1")
        );
    }
}
