//! The command line, as clap sees it.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use whocalled_pipeline::Listing;
use whocalled_simulate::Scenario;

/// A lost race for a commit is an error of ours, with a message of its own, and not one of the
/// library that noticed it.
const DEFAULT_LOG: &str = "warn,deltalake_core::kernel::transaction=off";

/// Who called Azure OpenAI? Converts archived Azure logs to a Delta lake and says, for every
/// data-plane call, which principal is behind it, with the evidence and how sure it is.
#[derive(Debug, Parser)]
#[command(name = "whocalled", version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Examples:
  whocalled simulate --out tenant                       make an archive to try things on
  whocalled convert tenant --lake lake                  bring the lake up to date with an archive
  whocalled report attribution --lake lake              who called, how often, how sure
  whocalled explain CORRELATION_ID --lake lake          the evidence behind one call
  whocalled sql --lake lake -c 'SELECT tier, count(*) FROM attributed_calls GROUP BY tier'

Every flag can be set as WHOCALLED_FLAG in the environment or as a key of whocalled.toml, in this order.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Settings file [default: whocalled.toml in the current directory, if it is there]
    #[arg(long, global = true, env = "WHOCALLED_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print results and errors only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// What to log to stderr: error, warn, info, debug, trace, or a filter such as whocalled_fetch=debug
    #[arg(long, global = true, env = "WHOCALLED_LOG", default_value = DEFAULT_LOG, value_name = "FILTER")]
    pub(crate) log: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a synthetic tenant: an archive in Azure's layout, and the truth about it
    Simulate(Simulate),
    /// Copy an archive's new bytes to a local directory
    Fetch(Fetch),
    /// Bring a lake up to date with an archive: the main step
    Convert(Convert),
    /// Run reports over a lake
    Report(Report),
    /// Show the evidence behind one call, and its raw record
    Explain(Explain),
    /// Query a lake with SQL; a shell without -c or -f
    Sql(Sql),
    /// Show what is committed, by container and resource; or how the last runs went
    Status(Status),
    /// Compare a lake with its archive: lengths, hashes, counts
    Verify(Verify),
    /// Check credentials, archive and lake, and say what to do
    Doctor(Doctor),
    /// Compact a lake's small files, compute its views, and remove files that nothing names
    Optimize(Optimize),
    /// Write a table, view or report to another place
    Export(Export),
    /// Convert, optimize, and write a day's reports: for a scheduler
    Nightly(Nightly),
    /// Write a whocalled.toml to fill in
    Init(Init),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a page of the reference
    #[command(hide = true)]
    Reference {
        /// The page
        page: Page,
    },
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// A table for people
    Table,
    /// JSON for programs
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Page {
    Cli,
    Config,
    Tables,
    Reports,
    ExitCodes,
}

/// The archive, and how to get at it.
#[derive(Debug, Args)]
pub(crate) struct ArchiveArgs {
    /// A directory, https://ACCOUNT.blob.core.windows.net, the same with a SAS, or an emulator's URL
    #[arg(env = "WHOCALLED_ARCHIVE", hide_env_values = true, value_name = "ARCHIVE")]
    pub(crate) archive: Option<String>,
    #[command(flatten)]
    pub(crate) auth: AuthArgs,
}

/// The archive where it is not the command's main argument.
#[derive(Debug, Args)]
pub(crate) struct ArchiveFlag {
    /// A directory, https://ACCOUNT.blob.core.windows.net, the same with a SAS, or an emulator's URL
    #[arg(long, env = "WHOCALLED_ARCHIVE", hide_env_values = true)]
    pub(crate) archive: Option<String>,
    #[command(flatten)]
    pub(crate) auth: AuthArgs,
}

/// Credentials for the archive. Secrets are taken from the environment only.
#[derive(Debug, Args)]
pub(crate) struct AuthArgs {
    /// Which credential to use: chain, workload-identity, managed-identity, client-certificate,
    /// client-secret, azure-cli, account-key [default: chain]. Secrets come from WHOCALLED_ACCOUNT_KEY and AZURE_CLIENT_SECRET
    #[arg(long, env = "WHOCALLED_AUTH", value_name = "KIND")]
    pub(crate) auth: Option<String>,
    /// The Entra tenant, for a client certificate or secret, or workload identity
    #[arg(long, env = "AZURE_TENANT_ID", value_name = "ID")]
    pub(crate) tenant_id: Option<String>,
    /// The client id of an application or a user-assigned managed identity
    #[arg(long, env = "AZURE_CLIENT_ID", value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// A PEM file with an application's certificate and its RSA private key, which
    /// AZURE_CLIENT_CERTIFICATE_PATH may name as well
    #[arg(long, env = "WHOCALLED_CLIENT_CERTIFICATE", value_name = "PEMFILE")]
    pub(crate) client_certificate: Option<PathBuf>,
    /// Where tokens come from [default: the authority of the cloud that the account is in]
    #[arg(long, env = "AZURE_AUTHORITY_HOST", value_name = "URL")]
    pub(crate) authority_host: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LakeArgs {
    /// The lake: a directory or abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH
    #[arg(long, env = "WHOCALLED_LAKE")]
    pub(crate) lake: Option<String>,
}

/// Which part of the archive.
#[derive(Debug, Args)]
pub(crate) struct SelectionArgs {
    /// Only this container; may be repeated [default: all that diagnostic settings write to]
    #[arg(long = "container", value_name = "NAME")]
    pub(crate) containers: Vec<String>,
    /// Only blobs of this hour or later, by their names: RFC 3339, a date, -7d, -24h, yesterday
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only blobs of hours before this, by their names; a date means to its end
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// How much to list. `recent` leaps to the hours that can have changed since the last run, from two
    /// days before it on; `auto` lists all while that takes few requests, and once a week
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub(crate) list: List,
}

/// How much of an archive is listed.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum List {
    #[default]
    Auto,
    All,
    Recent,
}

impl From<List> for Listing {
    fn from(list: List) -> Self {
        match list {
            List::Auto => Self::Auto,
            List::All => Self::All,
            List::Recent => Self::Recent,
        }
    }
}

/// The time that reports are about.
#[derive(Debug, Args)]
pub(crate) struct RangeArgs {
    /// From this instant on: RFC 3339, a date, -7d, -24h, yesterday [default: all that the lake holds]
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Up to this instant; a date means to its end [default: all that the lake holds]
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) to: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EngineArgs {
    /// Cores to use [default: all]
    #[arg(long, env = "WHOCALLED_THREADS", value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// How much memory queries may use, in MiB [default: 4096]
    #[arg(long, env = "WHOCALLED_MEMORY_MIB", value_name = "N")]
    pub(crate) memory_mib: Option<usize>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whocalled simulate --out tenant --seed 7 --accounts 4 --hours 48 --calls 20000
  whocalled simulate --out tenant --scenario key-vault")]
pub(crate) struct Simulate {
    /// Where to write: DIR/archive and DIR/truth
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// What everything random follows from: the same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// A tenant with a name, whose sizes other flags override
    #[arg(long, value_name = "NAME", value_parser = scenario())]
    pub(crate) scenario: Option<Scenario>,
    /// Azure OpenAI accounts [default: 4]
    #[arg(long)]
    pub(crate) accounts: Option<usize>,
    /// Hours of calls [default: 48]
    #[arg(long)]
    pub(crate) hours: Option<u32>,
    /// Calls, all accounts together [default: 20000]
    #[arg(long)]
    pub(crate) calls: Option<u64>,
    /// Users, service principals and managed identities [default: 40]
    #[arg(long)]
    pub(crate) principals: Option<usize>,
    /// The first hour, RFC 3339 [default: 2026-11-02T00:00:00Z]
    #[arg(long, value_name = "TIME")]
    pub(crate) start: Option<String>,
    /// Entra tenants [default: 1]
    #[arg(long)]
    pub(crate) tenants: Option<usize>,
    /// How often keys are obtained, at least
    #[arg(long, default_value_t = 0)]
    pub(crate) grants: u64,
    /// Write calls as JSON Lines of one shape, which other tools can read: no {"records":[...]}
    /// wrapper, byte order mark or numbers as text
    #[arg(long)]
    pub(crate) plain: bool,
    /// Records that are damaged, and must end as rejects
    #[arg(long, default_value_t = 0)]
    pub(crate) damaged: u64,
    /// Leave the last record of one blob torn
    #[arg(long)]
    pub(crate) torn: bool,
}

/// Scenarios by their names, each with what it is.
fn scenario() -> impl TypedValueParser<Value = Scenario> {
    let values = Scenario::ALL.map(|it| PossibleValue::new(it.name()).help(it.about()));
    PossibleValuesParser::new(values).map(|name| {
        // The parser lets no other name through.
        Scenario::ALL.into_iter().find(|it| it.name() == name).unwrap_or(Scenario::Offices)
    })
}

#[derive(Debug, Args)]
#[command(after_help = "Example: whocalled fetch https://ACCOUNT.blob.core.windows.net --to mirror --from -7d")]
pub(crate) struct Fetch {
    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
    /// The directory of the copy
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) selection: FetchSelection,
}

/// As [`SelectionArgs`], but `--to` names the directory.
#[derive(Debug, Args)]
pub(crate) struct FetchSelection {
    /// Only this container; may be repeated
    #[arg(long = "container", value_name = "NAME")]
    pub(crate) containers: Vec<String>,
    /// Only blobs of this hour or later, by their names
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only blobs of hours before this, by their names
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// How much to list: all, recent (the hours that can have changed), or auto, as in convert
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub(crate) list: List,
    /// Wait for another fetch into the same directory to end, instead of failing
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whocalled convert tenant --lake lake
  whocalled convert https://ACCOUNT.blob.core.windows.net --lake lake --from -7d > receipt.json
  whocalled convert tenant --lake lake --dry-run")]
pub(crate) struct Convert {
    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Take a last record without a line break once its blob has been quiet for this long: 3h, 30m, 0s
    /// [default: 3h]
    #[arg(long, env = "WHOCALLED_SEAL_AFTER", value_name = "DURATION")]
    pub(crate) seal_after: Option<String>,
    /// Print the blobs, bytes and requests that a run would take, and read nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait for another run on the same lake to end, instead of failing
    #[arg(long)]
    pub(crate) wait: bool,
    /// Write the receipt to this file as well
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
    /// Cores to use [default: all]
    #[arg(long, env = "WHOCALLED_THREADS", value_name = "N")]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whocalled report --list
  whocalled report attribution --lake lake --from -7d
  whocalled report --lake lake --format csv --out reports      (all of them)")]
pub(crate) struct Report {
    /// The reports; all of them if none is named
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// List the reports and what each answers
    #[arg(long)]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// table, csv, json, ndjson, markdown or parquet [default: table; csv with --out]
    #[arg(long, env = "WHOCALLED_FORMAT", value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Write each report to a file in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// A parameter of a report, as NAME=VALUE; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub(crate) parameters: Vec<String>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: whocalled explain 11cb5cb4-0137-45e9-a229-248c48df622e --lake lake --archive tenant")]
pub(crate) struct Explain {
    /// The call's correlation id: the response header apim-request-id
    #[arg(value_name = "CORRELATION_ID")]
    pub(crate) correlation_id: String,
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    #[command(flatten)]
    pub(crate) archive: ArchiveFlag,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whocalled sql --lake lake                                    a shell; \\d lists tables and views
  whocalled sql --lake lake -c 'SELECT * FROM attributed_calls LIMIT 10' --format csv
  whocalled sql --lake lake -f query.sql")]
pub(crate) struct Sql {
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    /// Run this statement
    #[arg(short = 'c', long = "command", value_name = "SQL", conflicts_with = "file")]
    pub(crate) command: Option<String>,
    /// Run the statements of this file, or of stdin if it is -
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// table, csv, json, ndjson, markdown or parquet [default: table]
    #[arg(long, env = "WHOCALLED_FORMAT", value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A blob is open while its hour is not over or it was modified less than 15 minutes ago; sealed \
when nothing of it is left to commit and it has been quiet for --seal-after; gone when the archive does not have it any \
more; else quiet. The lag is how long ago the newest hour ended of which something is committed.

Examples:
  whocalled status --lake lake
  whocalled status --lake lake --runs 5 --format json"
)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    /// Show the last N runs instead, newest first; 20 if N is not given
    #[arg(long, num_args = 0..=1, default_missing_value = "20", value_name = "N")]
    pub(crate) runs: Option<usize>,
    /// How long a blob must be quiet to be taken for complete: 3h, 30m, 0s [default: 3h]
    #[arg(long, env = "WHOCALLED_SEAL_AFTER", value_name = "DURATION")]
    pub(crate) seal_after: Option<String>,
    /// table, csv, json, ndjson, markdown or parquet [default: table]
    #[arg(long, env = "WHOCALLED_FORMAT", value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whocalled verify tenant --lake lake                          after a nightly run: 100 blobs byte by byte
  whocalled verify tenant --lake lake --all --format json      everything")]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    /// Read every blob's committed bytes again, not a sample's
    #[arg(long, conflicts_with = "sample")]
    pub(crate) all: bool,
    /// How many blobs' committed bytes to read, hash and decode again
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) sample: usize,
    /// What the choice of the sample follows from [default: the number of the lake's last batch]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How to print the result [default: table on a terminal, json elsewhere]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Shape>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whocalled doctor https://ACCOUNT.blob.core.windows.net --lake lake
  whocalled doctor --format json > doctor.json         archive and lake from the settings

Ends with 0 where nothing failed; otherwise with the code of the first check that did:
2 for the settings, 3 for the archive, 4 for the lake, 7 for the machine.")]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Shape::Table, value_name = "FORMAT")]
    pub(crate) format: Shape,
}

#[derive(Debug, Args)]
pub(crate) struct ViewArgs {
    /// Compute views if the lake has at most so many records of calls; none with 0. It takes 13 s and 1.5 GB
    /// for ten million
    #[arg(long, default_value_t = 50_000_000, value_name = "N")]
    pub(crate) view_records_max: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whocalled optimize --lake lake
  whocalled convert tenant --lake lake && whocalled optimize --lake lake    every hour, so that queries stay quick

The tables' logs are checkpointed, so that the lake opens quickly. What views say is kept in it,
and read by queries until the next conversion.")]
pub(crate) struct Optimize {
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    /// The size that files are brought to, in MiB
    #[arg(long, default_value_t = 128, value_name = "N")]
    pub(crate) target_mib: u64,
    /// Delete files that nothing has named for this many days
    #[arg(long, default_value_t = 7, value_name = "DAYS")]
    pub(crate) retention_days: u32,
    #[command(flatten)]
    pub(crate) views: ViewArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whocalled export attributed_calls --lake lake --to exported --format parquet
  whocalled export request_response --lake lake --to abfss://logs@acct.dfs.core.windows.net/calls --format delta --from yesterday")]
pub(crate) struct Export {
    /// A table, view or report
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    /// A directory or abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH
    #[arg(long, value_name = "DEST")]
    pub(crate) to: String,
    /// parquet, csv, ndjson or delta
    #[arg(long, default_value = "parquet", value_name = "FORMAT")]
    pub(crate) format: String,
    /// From this date on [default: all that the lake holds]
    #[arg(long, allow_hyphen_values = true, value_name = "DATE")]
    pub(crate) from: Option<String>,
    /// Up to and with this date [default: all that the lake holds]
    #[arg(long, allow_hyphen_values = true, value_name = "DATE")]
    pub(crate) until: Option<String>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  whocalled nightly --archive https://ACCOUNT.blob.core.windows.net --lake lake --out reports\n  \
                  whocalled nightly --fail-on leaked-key --fail-on coverage       exit code 10 if either has rows"
)]
pub(crate) struct Nightly {
    #[command(flatten)]
    pub(crate) archive: ArchiveFlag,
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    /// Where the dated directory goes
    #[arg(long, env = "WHOCALLED_OUT", value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// The day that the reports are about
    #[arg(long, default_value = "yesterday", allow_hyphen_values = true, value_name = "DATE")]
    pub(crate) date: String,
    /// csv, json, ndjson, markdown, parquet or table [default: csv]
    #[arg(long, env = "WHOCALLED_FORMAT", value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// End with exit code 10 if this report has rows; may be repeated
    #[arg(long, value_name = "REPORT")]
    pub(crate) fail_on: Vec<String>,
    /// Take a last record without a line break once its blob has been quiet for this long [default: 3h]
    #[arg(long, env = "WHOCALLED_SEAL_AFTER", value_name = "DURATION")]
    pub(crate) seal_after: Option<String>,
    /// Wait for another run on the same lake to end, instead of failing
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) views: ViewArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The file to write
    #[arg(default_value = "whocalled.toml", value_name = "FILE")]
    pub(crate) file: PathBuf,
}
