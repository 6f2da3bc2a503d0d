//! What commands share: the settings, the clock, and how archive, lake and session are opened.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use whocalled_fetch::{Archive, Auth, AuthKind, Secret};
use whocalled_lake::{Failpoints, Lake, LakeLocation, Snapshot, StorageOptions};
use whocalled_pipeline::HourRange;
use whocalled_report::{Format, Session, SessionOptions};
use whocalled_types::{Limits, SEAL_AFTER, Table};

use crate::args::{AuthArgs, EngineArgs, RangeArgs};
use crate::exit::Usage;
use crate::settings::Settings;
use crate::time::{Bound, duration, instant};

/// How much memory queries may use unless the user says otherwise.
pub(crate) const MEMORY_MIB: usize = 4096;

/// The settings, and how talkative to be.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    /// Why the settings file could not be read, for a command that goes on without it.
    pub(crate) settings_error: Option<anyhow::Error>,
    pub(crate) quiet: bool,
}

/// The one place that asks the system what time it is.
#[expect(clippy::disallowed_methods, reason = "the clock is read here and handed on")]
pub(crate) fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

/// The one place that reads the environment, flags apart.
#[expect(clippy::disallowed_methods, reason = "the environment is read here and handed on")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Context {
    /// Says something to whoever is watching.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            // A closed stderr is no reason to stop.
            drop(writeln!(std::io::stderr(), "{}", text.as_ref()));
        }
    }

    /// Whether progress can be drawn over.
    pub(crate) fn draws_progress(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }

    /// Whether colours are wanted where they can be shown.
    pub(crate) fn may_colour(&self) -> bool {
        variable("NO_COLOR").is_none()
    }

    /// The variable that names a proxy, where one is set.
    pub(crate) fn proxy(&self, https: bool) -> Option<&'static str> {
        let names = if https {
            ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        } else {
            ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        };
        names.into_iter().find(|name| variable(name).is_some())
    }

    pub(crate) fn archive_location(&self, given: Option<&String>) -> Result<String, Usage> {
        given.or(self.settings.archive.as_ref()).cloned().ok_or_else(|| {
            Usage(
                "no archive: name a directory or https://ACCOUNT.blob.core.windows.net, or set WHOCALLED_ARCHIVE"
                    .to_owned(),
            )
        })
    }

    /// Opens the archive, and says which credential answered.
    pub(crate) async fn archive(&self, given: Option<&String>, auth: &AuthArgs) -> anyhow::Result<Archive> {
        let location = self.archive_location(given)?;
        let archive = Archive::open(&location, self.auth(auth)?, now()).await?;
        if archive.credential() != "none" {
            self.say(format!("archive {} with {}", archive.display(), archive.credential()));
        }
        Ok(archive)
    }

    pub(crate) fn auth(&self, args: &AuthArgs) -> Result<Auth, Usage> {
        let kind = match args.auth.as_ref().or(self.settings.auth.as_ref()) {
            None => AuthKind::Chain,
            Some(name) => AuthKind::from_name(name).ok_or_else(|| {
                let known = AuthKind::ALL.map(AuthKind::name).join(", ");
                Usage(format!("unknown credential {name:?}: --auth takes {known}"))
            })?,
        };
        let given = args.client_certificate.clone();
        let client_certificate = given.or_else(|| variable("AZURE_CLIENT_CERTIFICATE_PATH").map(Into::into));
        Ok(Auth {
            kind,
            tenant_id: args.tenant_id.clone().or_else(|| self.settings.tenant_id.clone()),
            client_id: args.client_id.clone().or_else(|| self.settings.client_id.clone()),
            client_certificate: client_certificate.or_else(|| self.settings.client_certificate.clone()),
            certificate_chain_sent: variable("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN")
                .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true")),
            client_secret: variable("AZURE_CLIENT_SECRET").map(Secret::new),
            account_key: variable("WHOCALLED_ACCOUNT_KEY").map(Secret::new),
            federated_token_file: variable("AZURE_FEDERATED_TOKEN_FILE").map(Into::into),
            authority_host: args.authority_host.clone().or_else(|| self.settings.authority_host.clone()),
        })
    }

    pub(crate) fn lake_location(&self, given: Option<&String>) -> anyhow::Result<LakeLocation> {
        let text = given.or(self.settings.lake.as_ref());
        let text = text.ok_or_else(|| Usage("no lake: give --lake LAKE, or set WHOCALLED_LAKE".to_owned()))?;
        Ok(LakeLocation::parse(text)?)
    }

    /// Opens a lake that exists.
    pub(crate) async fn lake(&self, given: Option<&String>) -> anyhow::Result<Lake> {
        Ok(Lake::open(self.lake_location(given)?, self.storage_options()).await?)
    }

    /// Opens a lake that exists, to ask it.
    pub(crate) async fn snapshot(&self, given: Option<&String>) -> anyhow::Result<Snapshot> {
        Ok(Snapshot::open(&self.lake_location(given)?, &self.storage_options()).await?)
    }

    /// Opens a lake to write to it, or makes one.
    pub(crate) async fn lake_for_writing(&self, given: Option<&String>) -> anyhow::Result<Lake> {
        let specs = whocalled_pipeline::table_specs();
        Ok(Lake::open_or_create(self.lake_location(given)?, self.storage_options(), &specs, now()).await?)
    }

    /// How a lake in a Storage Account is reached: what the environment says under Azure's own names.
    #[expect(clippy::disallowed_methods, reason = "the environment is read here and handed on")]
    pub(crate) fn storage_values(&self) -> BTreeMap<String, String> {
        let variables = std::env::vars().filter(|(name, _)| name.starts_with("AZURE_"));
        variables.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
    }

    /// Where a test wants the program to end.
    pub(crate) fn failpoints(&self) -> Failpoints {
        crate::failpoint::from_environment(variable)
    }

    fn storage_options(&self) -> StorageOptions {
        let options = StorageOptions::default().with_failpoints(self.failpoints());
        self.storage_values().into_iter().fold(options, |options, (key, value)| options.set(key, value))
    }

    pub(crate) fn session(&self, snapshot: Snapshot, engine: &EngineArgs) -> anyhow::Result<Session> {
        let memory_mib = engine.memory_mib.or(self.settings.memory_mib).unwrap_or(MEMORY_MIB);
        let options = SessionOptions {
            threads: NonZeroUsize::new(self.threads(engine.threads)).unwrap_or(NonZeroUsize::MIN),
            memory_bytes_max: memory_mib << 20,
            weights: self.settings.weights()?,
        };
        Ok(Session::open(snapshot, &options)?)
    }

    pub(crate) fn threads(&self, given: Option<usize>) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        given.or(self.settings.threads).filter(|it| *it > 0).unwrap_or_else(all)
    }

    /// How long a blob must be quiet until its last record is taken as it is.
    pub(crate) fn seal_after(&self, given: Option<&String>) -> anyhow::Result<TimeDelta> {
        let text = given.or(self.settings.seal_after.as_ref());
        text.map_or_else(|| Ok(TimeDelta::from_std(SEAL_AFTER)?), |text| Ok(duration(text)?))
    }

    /// The limits of a run. Tests make batches small, so that a small archive has several.
    pub(crate) fn limits(&self) -> Limits {
        let batch_bytes_max = variable("WHOCALLED_BATCH_BYTES_MAX").and_then(|it| it.parse().ok());
        let standard = Limits::STANDARD;
        Limits { batch_bytes_max: batch_bytes_max.unwrap_or(standard.batch_bytes_max), ..standard }
    }

    pub(crate) fn format(&self, given: Option<&String>, default: Format) -> anyhow::Result<Format> {
        let text = given.or(self.settings.format.as_ref());
        Ok(text.map_or(Ok(default), |it| it.parse())?)
    }

    /// The range of instants that reports are about: what was asked for, or all days that the lake
    /// has rows of. Always said, resolved to UTC.
    pub(crate) async fn range(
        &self,
        snapshot: &Snapshot,
        args: &RangeArgs,
    ) -> anyhow::Result<(DateTime<Utc>, DateTime<Utc>)> {
        let now = now();
        let mut days = Vec::new();
        // Which days there are matters to who did not say which.
        if args.from.is_none() || args.to.is_none() {
            for table in [Table::RequestResponse, Table::Audit, Table::Activity] {
                days.extend(snapshot.files(table).await?.iter().filter_map(|file| file.date));
            }
        }
        let midnight = |day: chrono::NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        let from = match &args.from {
            Some(text) => instant(text, Bound::From, now)?,
            None => days.iter().min().map_or(now, |day| midnight(*day)),
        };
        let to = match &args.to {
            Some(text) => instant(text, Bound::To, now)?,
            None => days.iter().max().map_or(now, |day| midnight(*day) + TimeDelta::days(1)),
        };
        if from > to {
            return Err(Usage(format!("--from {from} is after --to {to}")).into());
        }
        self.say(format!("from {} to {} (UTC)", show(from), show(to)));
        Ok((from, to))
    }

    /// The hours that `--from` and `--to` of an archive name; all of them without either.
    pub(crate) fn hours(&self, from: Option<&String>, to: Option<&String>) -> anyhow::Result<Option<HourRange>> {
        if from.is_none() && to.is_none() {
            return Ok(None);
        }
        let now = now();
        let range = HourRange {
            from: from.map_or(Ok(DateTime::UNIX_EPOCH), |text| instant(text, Bound::From, now))?,
            to: to.map_or(Ok(now + TimeDelta::hours(1)), |text| instant(text, Bound::To, now))?,
        };
        if range.from > range.to {
            return Err(Usage(format!("the range begins at {} and ends at {}", range.from, range.to)).into());
        }
        self.say(format!("hours from {} to {} (UTC)", show(range.from), show(range.to)));
        Ok(Some(range))
    }
}

/// An instant for people: RFC 3339 to the second.
pub(crate) fn show(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Bytes for people.
pub(crate) fn show_bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// The clock, for runs.
pub(crate) fn clock() -> Arc<dyn Fn() -> DateTime<Utc> + Send + Sync> {
    Arc::new(now)
}
