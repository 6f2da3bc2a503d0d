//! Archives in a Storage Account, through Azure's SDK.

mod failure;

use std::{num::NonZeroUsize, ops::Range, sync::Arc};

use azure_core::http::{
    Response, XmlFormat,
    headers::{HeaderName, Headers},
    pager::PageIterator,
};
use azure_storage_blob::{
    BlobClient, BlobServiceClient, BlobServiceClientOptions,
    models::{
        BlobClientDownloadOptions, BlobContainerClientListBlobsOptions, BlobItem,
        BlobServiceClientListContainersOptions, ListBlobsResponse,
    },
};
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use whocalled_types::{BlobName, CONTAINER_ACTIVITY, CONTAINER_METRICS, is_log_container};

use crate::{
    Auth, AuthKind, Counters, Error, ListedBlob, Secret,
    auth::token_credential,
    error::Cause,
    location::AccountUrl,
    retry::{Backoff, Guard, STALL_MAX, client_options},
    sas,
};

/// What every log container's name begins with; it spares the listing of others.
const CONTAINERS_PREFIX: &str = "insights-";
/// The containers that are tried by name where they may not be listed: those whose logs have a
/// table of their own.
const CONTAINERS_KNOWN: [&str; 12] = [
    CONTAINER_ACTIVITY,
    "insights-logs-audit",
    "insights-logs-azureopenairequestusage",
    "insights-logs-gatewayllmlogs",
    "insights-logs-gatewaylogs",
    "insights-logs-managedidentitysigninlogs",
    "insights-logs-noninteractiveusersigninlogs",
    "insights-logs-requestresponse",
    "insights-logs-serviceprincipalsigninlogs",
    "insights-logs-signinlogs",
    "insights-logs-trace",
    CONTAINER_METRICS,
];

/// A Storage Account's blob service.
pub(crate) struct Account {
    service: BlobServiceClient,
    identity: String,
    host: String,
    container: Option<String>,
    credential: &'static str,
    /// When the SAS expires, where there is one and it says so.
    sas_expires_at: Option<DateTime<Utc>>,
    counters: Arc<Counters>,
    guard: Arc<Guard>,
}

impl Account {
    /// Settles how to authenticate. Nothing is sent to the account.
    pub(crate) async fn open(
        url: AccountUrl,
        auth: Auth,
        now: DateTime<Utc>,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Location { location: url.identity(), reason };
        let mut endpoint = url.endpoint.clone();
        let mut token = None;
        let mut sas_expires_at = None;
        let credential = if let Some(sas) = &url.sas {
            if let Some(reason) = sas::refusal(sas, now) {
                return Err(refuse(reason));
            }
            sas_expires_at = sas::expires_at(sas);
            endpoint.set_query(Some(sas.expose()));
            "SAS"
        } else if let Some(key) = account_key(&auth).map_err(|reason| refuse(reason.to_owned()))? {
            let Some(account) = &url.account else {
                return Err(refuse(
                    "a custom domain does not tell the account that the key is of; \
                    give https://ACCOUNT.blob.core.windows.net, or a SAS"
                        .to_owned(),
                ));
            };
            let http = endpoint.scheme() == "http";
            let sas = sas::account_sas(account, key, sas::PERMISSIONS_READ, http, now)?;
            sas_expires_at = sas::expires_at(&sas);
            endpoint.set_query(Some(sas.expose()));
            AuthKind::AccountKey.label()
        } else if endpoint.scheme() == "http" {
            return Err(refuse(
                "over plain http a token would be readable; give an https URL, a SAS or an account key".to_owned(),
            ));
        } else {
            let (answered, label) = token_credential(&auth, &url, now).await?;
            token = Some(answered);
            label
        };
        let guard = Arc::new(Guard::new(Arc::clone(&counters)));
        let client_options = client_options(Arc::clone(&guard));
        let options = BlobServiceClientOptions { client_options, ..BlobServiceClientOptions::default() };
        let service = BlobServiceClient::new(endpoint, token, Some(options))
            .map_err(|error| refuse(Cause::innermost(&error).to_string()))?;
        Ok(Self {
            service,
            identity: url.identity(),
            host: url.host(),
            container: url.container,
            credential,
            sas_expires_at,
            counters,
            guard,
        })
    }

    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    pub(crate) fn display(&self) -> String {
        match &self.container {
            Some(container) => format!("{}/{container}", self.identity),
            None => self.identity.clone(),
        }
    }

    pub(crate) fn credential(&self) -> &'static str {
        self.credential
    }

    pub(crate) async fn containers(&self) -> Result<Vec<String>, Error> {
        if let Some(container) = &self.container {
            self.probe(container).await?;
            return Ok(vec![container.clone()]);
        }
        match self.listed_containers().await {
            // The role may have been granted on single containers, and a SAS may be one of them.
            Err(denied @ Error::Denied { .. }) => {
                let mut containers = Vec::new();
                for container in CONTAINERS_KNOWN {
                    match self.probe(container).await {
                        Ok(()) => containers.push(container.to_owned()),
                        Err(Error::Gone { .. } | Error::Denied { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                if containers.is_empty() { Err(denied) } else { Ok(containers) }
            }
            listed => listed,
        }
    }

    async fn listed_containers(&self) -> Result<Vec<String>, Error> {
        let what = "the listing of containers";
        let options = BlobServiceClientListContainersOptions {
            prefix: Some(CONTAINERS_PREFIX.to_owned()),
            ..BlobServiceClientListContainersOptions::default()
        };
        let pager = self.service.list_containers(Some(options)).map_err(|error| self.failure(error, what))?;
        let mut pages = pager.into_pages();
        let mut containers = Vec::new();
        let mut token = None;
        while let Some(page) = Box::pin(pages.try_next()).await.map_err(|error| self.failure(error, what))? {
            let page = page.into_model().map_err(|error| self.failure(error, what))?;
            let names =
                page.container_items.into_iter().filter(|item| item.deleted != Some(true)).filter_map(|item| item.name);
            containers.extend(names.filter(|name| is_log_container(name)));
            self.advance(&mut token, page.next_marker, what)?;
        }
        containers.sort_unstable();
        Ok(containers)
    }

    /// Whether a container exists and may be listed: asked by listing, since a SAS for one container
    /// does not cover its properties.
    async fn probe(&self, container: &str) -> Result<(), Error> {
        let mut pages = self.blob_pages(container, None, Some(1))?;
        let what = format!("container {container}");
        Box::pin(pages.try_next()).await.map_err(|error| self.failure(error, &what))?;
        Ok(())
    }

    fn blob_pages(
        &self,
        container: &str,
        prefix: Option<&str>,
        maxresults: Option<i32>,
    ) -> Result<PageIterator<Response<ListBlobsResponse, XmlFormat>>, Error> {
        let options = BlobContainerClientListBlobsOptions {
            prefix: prefix.filter(|prefix| !prefix.is_empty()).map(str::to_owned),
            maxresults,
            ..BlobContainerClientListBlobsOptions::default()
        };
        let pager = self.service.blob_container_client(container).list_blobs(Some(options));
        Ok(pager.map_err(|error| self.failure(error, &format!("container {container}")))?.into_pages())
    }

    pub(crate) fn list(&self, container: &str, prefix: &str) -> BoxStream<'_, Result<Vec<ListedBlob>, Error>> {
        let what = format!("container {container}");
        let container = container.to_owned();
        let pages = match self.blob_pages(&container, Some(prefix), None) {
            Ok(pages) => pages,
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        stream::try_unfold((pages, None), move |(mut pages, mut token)| {
            let (container, what) = (container.clone(), what.clone());
            async move {
                let page = Box::pin(pages.try_next()).await.map_err(|error| self.failure(error, &what))?;
                let Some(page) = page else { return Ok(None) };
                let page = page.into_model().map_err(|error| self.failure(error, &what))?;
                self.advance(&mut token, page.next_marker, &what)?;
                let blobs = page.blob_items.into_iter().filter_map(|item| listed(&container, item)).collect();
                Ok(Some((blobs, (pages, token))))
            }
        })
        .boxed()
    }

    /// Moves on to the next page, which must be another one: a token that repeats would be a
    /// listing without end.
    fn advance(&self, token: &mut Option<String>, next: Option<String>, what: &str) -> Result<(), Error> {
        let next = next.filter(|next| !next.is_empty());
        if next.is_some() && *token == next {
            return Err(self.nonsense(what, "its page token repeats"));
        }
        *token = next;
        Ok(())
    }

    pub(crate) async fn read(&self, blob: &BlobName, range: Range<u64>) -> Result<Bytes, Error> {
        let client = self.service.blob_client(&blob.container, &blob.name);
        let what = format!("blob {blob}");
        let wanted = usize::try_from(range.end - range.start)
            .map_err(|_| self.nonsense(&what, "the range is larger than the memory"))?;
        let mut bytes = BytesMut::with_capacity(wanted);
        let mut backoff = Backoff::new(blob);
        loop {
            let received = bytes.len();
            let from = range.start + received as u64;
            let Err(broken) = self.receive(&client, blob, from..range.end, &mut bytes).await else {
                return Ok(bytes.freeze());
            };
            let source = match broken {
                Broken::Body(cause) => cause,
                Broken::Answer(error) => return Err(error),
            };
            let progressed = bytes.len() > received;
            let Some(delay) = backoff.broke_off(progressed) else {
                let what = format!("{what} at byte {}", range.start + bytes.len() as u64);
                return Err(Error::Interrupted { what, attempt_count: backoff.attempt_count(), source });
            };
            tracing::debug!(%blob, received = bytes.len(), wanted, cause = %source, "body broke off, and is resumed");
            tokio::time::sleep(delay).await;
        }
    }

    /// Asks once for `range` and appends what comes of it to `bytes`.
    async fn receive(
        &self,
        client: &BlobClient,
        blob: &BlobName,
        range: Range<u64>,
        bytes: &mut BytesMut,
    ) -> Result<(), Broken> {
        let mut missing = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        // One partition as large as the range, so that one request goes out for it.
        let options = BlobClientDownloadOptions {
            range: Some(range.clone().into()),
            parallel: NonZeroUsize::new(1),
            partition_size: NonZeroUsize::new(missing),
            ..BlobClientDownloadOptions::default()
        };
        let answer = Box::pin(client.download(Some(options))).await;
        let answer = answer.map_err(|error| Broken::Answer(self.read_failure(error, blob, &range)))?;
        self.check_answer(&answer.headers, blob, &range).map_err(Broken::Answer)?;
        let mut body = answer.body;
        while missing > 0 {
            let chunk = match tokio::time::timeout(STALL_MAX, body.next()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(Some(Err(error))) => return Err(Broken::Body(Cause::innermost(&error))),
                Ok(None) => return Err(Broken::Body(Cause::new("the body ended early"))),
                Err(_) => return Err(Broken::Body(Cause::new(format!("no byte within {} s", STALL_MAX.as_secs())))),
            };
            let taken = chunk.len().min(missing);
            bytes.extend_from_slice(&chunk[..taken]);
            self.counters.count_bytes(taken);
            missing -= taken;
        }
        Ok(())
    }

    /// Whether an answer holds the range that was asked for, and all of it.
    fn check_answer(&self, headers: &Headers, blob: &BlobName, range: &Range<u64>) -> Result<(), Error> {
        let header = |name: &'static str| headers.get_optional_str(&HeaderName::from_static(name));
        let shrank = |bytes| Error::Shrank { blob: blob.clone(), from: range.start, to: range.end, bytes: Some(bytes) };
        let what = || format!("blob {blob}");
        let Some(content_range) = header("content-range") else {
            // The whole blob, which is as good where the range begins with it. An empty blob is
            // answered so, because no range of it can be satisfied.
            return match header("content-length").and_then(|length| length.parse::<u64>().ok()) {
                Some(length) if length < range.end => Err(shrank(length)),
                _ if range.start == 0 => Ok(()),
                _ => Err(self.nonsense(&what(), "the range that was asked for is ignored")),
            };
        };
        let Some((first, last, length)) = parse_content_range(content_range) else {
            return Err(self.nonsense(&what(), &format!("content-range is {content_range}")));
        };
        if length.is_some_and(|length| length < range.end) || last + 1 < range.end {
            return Err(shrank(length.unwrap_or(last + 1)));
        }
        if first != range.start {
            return Err(self.nonsense(&what(), &format!("content-range is {content_range}, not from {}", range.start)));
        }
        Ok(())
    }

    fn nonsense(&self, what: &str, reason: &str) -> Error {
        Error::Protocol { endpoint: self.identity.clone(), what: what.to_owned(), reason: reason.to_owned() }
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the client, whose URL holds the SAS.
        f.debug_struct("Account")
            .field("identity", &self.identity)
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}

/// Why a read did not get all of its range.
enum Broken {
    /// The answer began, and broke off: the rest can be asked for.
    Body(Cause),
    /// The answer is an error, or not to the question.
    Answer(Error),
}

/// The key to make a SAS from, where `auth` wants that.
fn account_key(auth: &Auth) -> Result<Option<&Secret>, &'static str> {
    match (auth.kind, &auth.account_key) {
        (AuthKind::Chain | AuthKind::AccountKey, Some(key)) => Ok(Some(key)),
        (AuthKind::AccountKey, None) => Err("an account key is asked for, and none is given"),
        _ => Ok(None),
    }
}

/// The blob that an item of a listing is; `None` for one that is deleted, or is a snapshot.
fn listed(container: &str, item: BlobItem) -> Option<ListedBlob> {
    if item.deleted == Some(true) || item.snapshot.is_some() {
        return None;
    }
    let properties = item.properties.unwrap_or_default();
    Some(ListedBlob {
        name: BlobName { container: container.to_owned(), name: item.name? },
        bytes: properties.content_length.unwrap_or_default(),
        created_at: properties
            .creation_time
            .and_then(|it| DateTime::from_timestamp(it.unix_timestamp(), it.nanosecond())),
        modified_at: properties
            .last_modified
            .and_then(|it| DateTime::from_timestamp(it.unix_timestamp(), it.nanosecond())),
        etag: properties.etag.map(|etag| etag.to_string()),
    })
}

/// `bytes 0-99/1234` as first byte, last byte and length of the whole; `*` is a length that is not
/// told.
fn parse_content_range(header: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, length) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let length = if length == "*" { None } else { Some(length.trim().parse().ok()?) };
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?, length))
}

#[cfg(test)]
mod tests;
