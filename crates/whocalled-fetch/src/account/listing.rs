//! Listings: containers, the blobs of one, and those of some hours without the rest.

use std::collections::HashSet;

use azure_storage_blob::models::{
    BlobContainerClientListBlobsOptions, BlobItem, BlobServiceClientListContainersOptions,
};
use chrono::DateTime;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use whocalled_types::{BlobName, CONTAINER_ACTIVITY, CONTAINER_METRICS, HourSpan, Seek, is_log_container};

use super::Account;
use crate::{Error, ListedBlob};

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
/// The most that the service puts on a page (List Blobs, `maxresults`).
const PAGE_BLOBS_MAX: u64 = 5000;

/// What a page of blobs is asked for with.
#[derive(Debug, Clone, Default)]
struct PageOf {
    container: String,
    prefix: Option<String>,
    /// The name to begin at.
    start_from: Option<String>,
    /// The token that the page before gave.
    marker: Option<String>,
    blob_count_max: Option<u64>,
}

/// A page of blobs, and the token of the next.
struct Page {
    blobs: Vec<ListedBlob>,
    next: Option<String>,
}

/// The tokens that a listing has come by. One that repeats would be a listing without end.
#[derive(Default)]
struct Tokens(HashSet<String>);

impl Account {
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
        let (mut containers, mut tokens, mut marker) = (Vec::new(), Tokens::default(), None);
        loop {
            let options = BlobServiceClientListContainersOptions {
                prefix: Some(CONTAINERS_PREFIX.to_owned()),
                marker: marker.take(),
                ..BlobServiceClientListContainersOptions::default()
            };
            let request = || async {
                let page = self.service.list_containers(Some(options.clone()))?.into_pages().try_next().await?;
                page.map(azure_core::http::Response::into_model).transpose()
            };
            let Some(page) = self.persist(what, request).await? else { break };
            let present = page.container_items.into_iter().filter(|item| item.deleted != Some(true));
            containers.extend(present.filter_map(|item| item.name).filter(|name| is_log_container(name)));
            marker = self.turn(&mut tokens, page.next_marker, what)?;
            if marker.is_none() {
                break;
            }
        }
        containers.sort_unstable();
        Ok(containers)
    }

    /// Whether a container exists and may be listed: asked by listing, since a SAS for one container
    /// does not cover its properties.
    async fn probe(&self, container: &str) -> Result<(), Error> {
        let of = PageOf { container: container.to_owned(), blob_count_max: Some(1), ..PageOf::default() };
        self.page(&of).await.map(drop)
    }

    pub(crate) fn list(&self, container: &str, prefix: &str) -> BoxStream<'_, Result<Vec<ListedBlob>, Error>> {
        let prefix = (!prefix.is_empty()).then(|| prefix.to_owned());
        let first = PageOf { container: container.to_owned(), prefix, ..PageOf::default() };
        stream::try_unfold((Some(first), Tokens::default()), move |(of, mut tokens)| async move {
            let Some(of) = of else { return Ok(None) };
            let page = self.page(&of).await?;
            let next = self.turn(&mut tokens, page.next, &of.what())?;
            let next = next.map(|marker| PageOf { marker: Some(marker), ..of });
            Ok(Some((page.blobs, (next, tokens))))
        })
        .boxed()
    }

    /// The blobs of some hours. The listing leaps: from a resource's first blob to the first of the
    /// hours, and from their end to the next resource, so that it takes about one request a resource,
    /// however old the archive is.
    pub(crate) fn list_hours(&self, container: &str, hours: HourSpan) -> BoxStream<'_, Result<Vec<ListedBlob>, Error>> {
        // As many as an hour each, and the one after them, from which to leap on.
        let blob_count_max = Some((hours.hour_count_max() + 2).min(PAGE_BLOBS_MAX));
        let first = PageOf { container: container.to_owned(), blob_count_max, ..PageOf::default() };
        stream::try_unfold((Some(first), Tokens::default()), move |(of, mut tokens)| async move {
            let Some(mut of) = of else { return Ok(None) };
            let page = self.page(&of).await?;
            let last = page.blobs.last().map(|blob| blob.name.name.clone());
            let leapt = of.start_from.as_deref().filter(|_| of.marker.is_none());
            // A service that does not know how to begin at a name begins at the first one.
            let leaps = leapt.is_none_or(|from| page.blobs.first().is_none_or(|blob| blob.name.name.as_str() >= from));
            let (blobs, seek) = sift(page.blobs, hours);
            let Some(marker) = self.turn(&mut tokens, page.next, &of.what())? else {
                return Ok(Some((blobs, (None, tokens))));
            };
            match seek.filter(|seek| leaps && Some(seek) > last.as_ref()) {
                Some(seek) => (of.start_from, of.marker) = (Some(seek), None),
                None => of.marker = Some(marker),
            }
            Ok(Some((blobs, (Some(of), tokens))))
        })
        .boxed()
    }

    async fn page(&self, of: &PageOf) -> Result<Page, Error> {
        let client = self.service.blob_container_client(&of.container);
        let request = || async {
            let options = BlobContainerClientListBlobsOptions {
                prefix: of.prefix.clone(),
                start_from: of.start_from.clone(),
                marker: of.marker.clone(),
                maxresults: of.blob_count_max.and_then(|it| i32::try_from(it).ok()),
                ..BlobContainerClientListBlobsOptions::default()
            };
            let page = client.list_blobs(Some(options))?.into_pages().try_next().await?;
            page.map(azure_core::http::Response::into_model).transpose()
        };
        let Some(page) = self.persist(&of.what(), request).await? else {
            return Ok(Page { blobs: Vec::new(), next: None });
        };
        let blobs = page.blob_items.into_iter().filter_map(|item| listed(&of.container, item)).collect();
        Ok(Page { blobs, next: page.next_marker })
    }

    /// The token to turn the page with, where there is another page.
    fn turn(&self, tokens: &mut Tokens, next: Option<String>, what: &str) -> Result<Option<String>, Error> {
        let next = next.filter(|next| !next.is_empty());
        if next.as_ref().is_some_and(|next| !tokens.0.insert(next.clone())) {
            return Err(self.nonsense(what, "its page token repeats"));
        }
        Ok(next)
    }
}

impl PageOf {
    fn what(&self) -> String {
        format!("container {}", self.container)
    }
}

/// Those of a page's blobs that are of the hours, and the name from which more can follow, where
/// that is not the next one.
fn sift(page: Vec<ListedBlob>, hours: HourSpan) -> (Vec<ListedBlob>, Option<String>) {
    let (mut blobs, mut seek) = (Vec::new(), None::<String>);
    for blob in page {
        if seek.as_deref().is_some_and(|seek| blob.name.name.as_str() < seek) {
            continue;
        }
        seek = match hours.seek(&blob.name) {
            Seek::From(name) => Some(name),
            Seek::Here => {
                blobs.push(blob);
                None
            }
        };
    }
    (blobs, seek)
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
