//! An archive that fails: a proxy before Azurite throttles, breaks off, stalls and answers nonsense.
//! Whatever it does, every complete record is in the lake once in the end, never twice in between,
//! and the receipt says what is missing.

mod ends;
mod listings;
mod pressure;
mod program;
mod reads;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use azure_storage_blob::BlobServiceClient;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use tempfile::TempDir;
use whocalled_fetch::{Archive, Auth, RetryPolicy};
use whocalled_lake::{Lake, LakeLocation, StorageOptions};
use whocalled_pipeline::{Options, Receipt, Run, Selection, run, table_specs};
use whocalled_report::{Parameters, Session, SessionOptions};
use whocalled_tests::azurite::{Azurite, append};
use whocalled_tests::fault_proxy::{FaultProxy, Request};
use whocalled_types::Limits;

const RESOURCE: &str = "resourceId=/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A";

#[expect(clippy::disallowed_methods, reason = "Azurite checks a SAS against the machine's clock")]
fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}

/// The Azurite that all tests of this file share while they run; each has a container of its own.
fn azurite() -> Result<Arc<Azurite>> {
    static RUNNING: Mutex<Weak<Azurite>> = Mutex::new(Weak::new());
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(azurite) = running.upgrade() {
        return Ok(azurite);
    }
    let azurite = Arc::new(Azurite::start()?);
    *running = Arc::downgrade(&azurite);
    Ok(azurite)
}

/// A container of an archive, the proxy before it, and the lake it is converted into.
struct Scene {
    azurite: Arc<Azurite>,
    service: BlobServiceClient,
    container: String,
    proxy: FaultProxy,
    scratch: TempDir,
    /// What each hour's blob holds.
    blobs: BTreeMap<u32, String>,
    line_count: u32,
    policy: RetryPolicy,
    limits: Limits,
}

impl Scene {
    /// An empty container, `name` and no other.
    fn new(name: &str) -> Result<Self> {
        let azurite = azurite()?;
        let url = azurite.url();
        let upstream = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
        Ok(Self {
            service: azurite.service(now())?,
            container: format!("insights-logs-{name}"),
            proxy: FaultProxy::start(upstream)?,
            scratch: TempDir::new()?,
            blobs: BTreeMap::new(),
            line_count: 0,
            policy: RetryPolicy {
                attempt_count_max: 4,
                delay_initial: Duration::from_millis(1),
                delay_max: Duration::from_millis(20),
                ..RetryPolicy::default()
            },
            limits: Limits::STANDARD,
            azurite,
        })
    }

    /// The blob of an hour, as the lake names it.
    fn blob(&self, hour: u32) -> String {
        format!("{}/{RESOURCE}/y=2026/m=11/d=01/{}m=00/PT1H.json", self.container, part(hour))
    }

    async fn append(&mut self, hour: u32, text: &str) -> Result<()> {
        let blob = self.blob(hour);
        let (container, name) = blob.split_once('/').context("a blob is in a container")?;
        append(&self.service, container, name, text.as_bytes()).await?;
        self.blobs.entry(hour).or_default().push_str(text);
        Ok(())
    }

    /// Appends so many new lines to an hour's blob.
    async fn grow(&mut self, hour: u32, line_count: u32) -> Result<()> {
        let lines: String = (self.line_count..self.line_count + line_count).map(line).collect();
        self.line_count += line_count;
        self.append(hour, &lines).await
    }

    /// Hours 1 to 4 with 60 lines each, the second with a reject too, the third torn.
    async fn fill(&mut self) -> Result<()> {
        for hour in 1..=4 {
            self.grow(hour, 60).await?;
        }
        self.append(2, "rubbish\n").await?;
        self.append(3, &line(0)[..50]).await
    }

    fn bytes(&self, hour: u32) -> u64 {
        self.blobs.get(&hour).map_or(0, String::len) as u64
    }

    /// The archive's location, as a user would give it.
    fn location(&self) -> Result<String> {
        let sas = self.azurite.url_with_sas("rl", now())?;
        let (url, sas) = sas.split_once('?').context("a SAS is a query")?;
        let account = url.rsplit('/').next().context("the account is in the path")?;
        Ok(format!("http://{}/{account}/{}?{sas}", self.proxy.address(), self.container))
    }

    /// Converts through the proxy, and checks what holds of every run: it balances, no record is there
    /// twice, none that the archive does not have, no secret shows, and every request is counted.
    async fn convert(&self) -> Result<Run> {
        self.proxy.forget();
        let archive = Archive::open_with(&self.location()?, Auth::default(), now(), self.policy.clone()).await?;
        let mut lake = self.lake().await?;
        let options = Options {
            run_id: format!("run-{}", lake.last_batch()),
            selection: Selection::default(),
            seal_after: TimeDelta::hours(3),
            limits: self.limits.clone(),
            thread_count: 2,
            clock: Arc::new(now),
            progress: Arc::new(|_| {}),
            stop: Arc::default(),
        };
        let ran = run(&archive, &mut lake, &options).await;
        assert!(!format!("{archive:?} {ran:?}").contains("sig="));
        ran.receipt.check()?;
        assert_eq!(ran.receipt.records, ran.receipt.rows + ran.receipt.rejects);
        // The SDK asks for a blob without a range by itself where a range from byte 0 got a 416.
        let asked = self.proxy.requests().iter().filter(|it| it.lists() || it.range.is_some()).count();
        assert_eq!(ran.receipt.requests, asked as u64, "{ran:?}");
        let (found, expected) = (self.found().await?, self.expected());
        let once: BTreeSet<_> = found.iter().collect();
        assert_eq!(once.len(), found.len(), "a record is there twice");
        assert!(once.iter().all(|it| expected.contains(it)), "a record is there that is none");
        Ok(ran)
    }

    /// As [`Self::convert`], for a run that is to leave nothing but what is torn.
    async fn convert_all(&self) -> Result<Receipt> {
        let receipt = self.convert().await?.finished()?;
        assert_eq!(receipt.failures, [], "{receipt:?}");
        assert_eq!(receipt.bytes_left.total(), receipt.bytes_left.torn, "{receipt:?}");
        assert_eq!(self.found().await?, self.expected());
        Ok(receipt)
    }

    async fn lake(&self) -> Result<Lake> {
        let path = self.scratch.path().join("lake");
        let location = LakeLocation::parse(path.to_str().context("a path")?)?;
        Ok(Lake::open_or_create(location, StorageOptions::default(), &table_specs(), now()).await?)
    }

    /// Every row and reject of the lake: blob, offset, and which of the two.
    async fn found(&self) -> Result<Vec<String>> {
        let options = SessionOptions { threads: NonZeroUsize::MIN, memory_bytes_max: 256 << 20 };
        let session = Session::open(&self.lake().await?, &options).await?;
        let sql = "SELECT concat(blob, ' ', blob_offset, ' row') FROM request_response \
                   UNION ALL SELECT concat(blob, ' ', blob_offset, ' reject') FROM rejects";
        let batches: Vec<_> = session.query(sql, &Parameters::new()).await?.batches.try_collect().await?;
        let mut found = Vec::new();
        for batch in batches {
            let places = ArrayFormatter::try_new(batch.column(0), &FormatOptions::default())?;
            found.extend((0..batch.num_rows()).map(|row| places.value(row).to_string()));
        }
        found.sort();
        Ok(found)
    }

    /// Every complete line of the archive, in the same form.
    fn expected(&self) -> Vec<String> {
        let mut expected = Vec::new();
        for (hour, text) in &self.blobs {
            let mut offset = 0;
            for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                let kind = if line.starts_with('{') { "row" } else { "reject" };
                expected.push(format!("{} {offset} {kind}", self.blob(*hour)));
                offset += line.len();
            }
        }
        expected.sort();
        expected
    }
}

/// The part of a blob's name that tells its hour.
fn part(hour: u32) -> String {
    format!("h={hour:02}/")
}

/// Whether a request reads the blob of an hour.
fn reads(hour: u32) -> impl Fn(&Request) -> bool + Send + Clone {
    move |request| request.reads(&part(hour))
}

fn line(id: u32) -> String {
    format!("{{\"time\":\"2026-11-01T13:00:00Z\",\"category\":\"RequestResponse\",\"correlationId\":\"id-{id}\"}}\n")
}
