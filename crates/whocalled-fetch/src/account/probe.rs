//! Probes of an account, for which nothing is changed and no blob is read.

use std::{collections::HashMap, time::Instant};

use azure_core::{
    error::ErrorKind,
    http::{
        Etag,
        headers::{HeaderName, Headers},
    },
};
use azure_storage_blob::models::{
    AccessTier, BlobClientSetMetadataOptions, BlobContainerClientListBlobsOptions,
    BlobServiceClientListContainersOptions,
};
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;

use super::Account;
use crate::{
    Error,
    probe::{Greeting, Survey},
};

/// An ETag that no blob has: the service's own are longer.
const NO_ETAG: &str = "\"0x0\"";

impl Account {
    /// Asks once for a page of one container, or of the one container's blobs.
    pub(crate) async fn greet(&self) -> Greeting {
        let began = Instant::now();
        let request = async {
            let answer = match &self.container {
                Some(container) => {
                    let options = BlobContainerClientListBlobsOptions { maxresults: Some(1), ..Default::default() };
                    let client = self.service.blob_container_client(container);
                    let page = client.list_blobs(Some(options))?.into_pages().try_next().await?;
                    page.map(|page| page.headers().clone())
                }
                None => {
                    let options = BlobServiceClientListContainersOptions { maxresults: Some(1), ..Default::default() };
                    let page = self.service.list_containers(Some(options))?.into_pages().try_next().await?;
                    page.map(|page| page.headers().clone())
                }
            };
            Ok(answer)
        };
        match self.send(request).await {
            Ok((pass, headers)) => {
                pass.succeeded();
                Greeting { took: began.elapsed(), answered_at: headers.as_ref().and_then(date), error: None }
            }
            Err(error) => {
                let answered_at = match error.kind() {
                    ErrorKind::HttpResponse { raw_response: Some(response), .. } => date(response.headers()),
                    _ => None,
                };
                let what = "the listing of containers";
                Greeting { took: began.elapsed(), answered_at, error: Some(self.failure(error, what)) }
            }
        }
    }

    pub(crate) fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// See [`crate::Archive::may_write`].
    pub(crate) async fn may_write(&self, container: &str, name: &str) -> Result<bool, Error> {
        let client = self.service.blob_client(container, name);
        let request = async {
            let options = BlobClientSetMetadataOptions { if_match: Some(Etag::from(NO_ETAG)), ..Default::default() };
            client.set_metadata(&HashMap::new(), Some(options)).await
        };
        match self.send(request).await {
            // Nobody's ETag was matched: not a service that keeps to its protocol.
            Ok(_) => Err(self.nonsense("the probe for writing", "a blob that does not exist was written to")),
            Err(error) => match error.http_status().map(u16::from) {
                Some(401 | 403) => Ok(false),
                Some(404 | 412) => Ok(true),
                _ => Err(self.failure(error, "the probe for writing")),
            },
        }
    }

    /// See [`crate::Archive::survey`].
    pub(crate) async fn survey(&self, container: &str, page_count_max: usize) -> Result<Survey, Error> {
        let what = format!("container {container}");
        let client = self.service.blob_container_client(container);
        let (mut survey, mut marker) = (Survey::default(), None);
        for _ in 0..page_count_max {
            let request = || async {
                let options = BlobContainerClientListBlobsOptions { marker: marker.clone(), ..Default::default() };
                let page = client.list_blobs(Some(options))?.into_pages().try_next().await?;
                page.map(azure_core::http::Response::into_model).transpose()
            };
            let page = self.persist(&what, request).await?;
            let (items, next) = page.map_or_else(Default::default, |page| (page.blob_items, page.next_marker));
            for properties in items.into_iter().filter_map(|item| item.properties) {
                survey.blob_count += 1;
                survey.bytes += properties.content_length.unwrap_or_default();
                survey.offline_count += u64::from(properties.access_tier == Some(AccessTier::Archive));
            }
            marker = next.filter(|next| !next.is_empty());
            if marker.is_none() {
                survey.whole = true;
                break;
            }
        }
        Ok(survey)
    }
}

/// The time in an answer's head.
fn date(headers: &Headers) -> Option<DateTime<Utc>> {
    let text = headers.get_optional_str(&HeaderName::from_static("date"))?;
    DateTime::parse_from_rfc2822(text).ok().map(|it| it.to_utc())
}
