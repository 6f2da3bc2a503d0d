//! What is looked at before a run is trusted to an archive: whether it answers, what the caller may do,
//! and which blobs cannot be read. Nothing here changes anything, in an account or in a directory.

pub(crate) mod endpoint;
pub(crate) mod terms;

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;

use crate::{Archive, Error, Source};

/// How an account answered one request: a page of containers with nothing on it, or of the container
/// that the location names.
#[derive(Debug)]
pub struct Greeting {
    /// How long the answer took, the connection included.
    pub took: Duration,
    /// The account's own time, to the second, as its answer says.
    pub answered_at: Option<DateTime<Utc>>,
    /// Why the listing that was asked for was not given.
    pub error: Option<Error>,
}

/// The first blobs of a container, in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Survey {
    /// How many blobs were looked at.
    pub blob_count: u64,
    /// How many bytes they hold.
    pub bytes: u64,
    /// How many of them are in the archive access tier, where they cannot be read.
    pub offline_count: u64,
    /// Whether these are all blobs of the container.
    pub whole: bool,
}

impl Archive {
    /// Asks the account for as little as it can be asked for. `None` for a directory.
    pub async fn greet(&self) -> Option<Greeting> {
        match &self.source {
            Source::Directory(_) => None,
            Source::Account(account) => Some(account.greet().await),
        }
    }

    /// The credentials that were tried before the one that answered, and why each did not do.
    pub fn passed_over(&self) -> &[String] {
        match &self.source {
            Source::Directory(_) => &[],
            Source::Account(account) => account.passed_over(),
        }
    }

    /// Whether the caller could write to a container of the account; `None` for a directory.
    ///
    /// The service is asked to set the metadata of a blob `name`, which must be one that does not exist,
    /// and only if that blob has an ETag that none has. It checks permissions first: a caller that may
    /// not write is denied, and one that may is told that there is no such blob. So nothing is
    /// written in either case.
    ///
    /// # Errors
    /// Whatever else the account answers: nothing follows from it.
    pub async fn may_write(&self, container: &str, name: &str) -> Result<Option<bool>, Error> {
        match &self.source {
            Source::Directory(_) => Ok(None),
            Source::Account(account) => account.may_write(container, name).await.map(Some),
        }
    }

    /// Looks at the first blobs of a container, up to `page_count_max` pages of a listing.
    ///
    /// # Errors
    /// As of [`Archive::list`].
    pub async fn survey(&self, container: &str, page_count_max: usize) -> Result<Survey, Error> {
        if let Source::Account(account) = &self.source {
            return account.survey(container, page_count_max).await;
        }
        let mut pages = self.list(container, "");
        let mut survey = Survey::default();
        for _ in 0..page_count_max {
            let Some(page) = pages.try_next().await? else {
                survey.whole = true;
                break;
            };
            survey.blob_count += page.len() as u64;
            survey.bytes += page.iter().map(|blob| blob.bytes).sum::<u64>();
        }
        Ok(survey)
    }
}
