//! Settings: flags first, then the environment, then `whocalled.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

use whocalled_report::Weights;

use crate::exit::Usage;

/// The file that is read where `--config` names none.
const DEFAULT_FILE: &str = "whocalled.toml";

/// What `whocalled.toml` may hold. Secrets belong in the environment.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Settings {
    /// The file that they were read from.
    #[serde(skip)]
    pub(crate) file: Option<PathBuf>,
    pub(crate) archive: Option<String>,
    pub(crate) lake: Option<String>,
    pub(crate) out: Option<PathBuf>,
    pub(crate) format: Option<String>,
    pub(crate) containers: Option<Vec<String>>,
    pub(crate) seal_after: Option<String>,
    pub(crate) auth: Option<String>,
    pub(crate) tenant_id: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) client_certificate: Option<PathBuf>,
    pub(crate) authority_host: Option<String>,
    pub(crate) threads: Option<usize>,
    pub(crate) memory_mib: Option<usize>,
    pub(crate) attribution: Option<Attribution>,
}

/// How calls are attributed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attribution {
    /// Weights of the evidence, by name, in place of those of the model.
    pub(crate) weights: BTreeMap<String, f64>,
}

/// A key of the settings file.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// An example value, as TOML.
    pub(crate) example: &'static str,
    pub(crate) about: &'static str,
    /// The flag and the environment variable that come before it.
    pub(crate) flag: &'static str,
    pub(crate) variable: &'static str,
}

const fn key(
    name: &'static str,
    example: &'static str,
    about: &'static str,
    flag: &'static str,
    variable: &'static str,
) -> Key {
    Key { name, example, about, flag, variable }
}

/// Every key, in the order in which `init` writes them.
pub(crate) const KEYS: &[Key] = &[
    key(
        "archive",
        "\"https://ACCOUNT.blob.core.windows.net\"",
        "The archive: a directory or a Storage Account's URL. A SAS belongs in the environment.",
        "ARCHIVE, --archive",
        "WHOCALLED_ARCHIVE",
    ),
    key(
        "lake",
        "\"lake\"",
        "The lake: a directory or abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH.",
        "--lake",
        "WHOCALLED_LAKE",
    ),
    key("out", "\"reports\"", "Where `nightly` puts its dated directories.", "--out", "WHOCALLED_OUT"),
    key(
        "format",
        "\"csv\"",
        "How results are written: table, csv, json, ndjson, markdown or parquet.",
        "--format",
        "WHOCALLED_FORMAT",
    ),
    key(
        "containers",
        "[\"insights-logs-requestresponse\", \"insights-activity-logs\"]",
        "Which containers are read; all that diagnostic settings write to where it is absent.",
        "--container",
        "",
    ),
    key(
        "seal_after",
        "\"3h\"",
        "How long a blob must be quiet until its last record is taken without a line break.",
        "--seal-after",
        "WHOCALLED_SEAL_AFTER",
    ),
    key(
        "auth",
        "\"chain\"",
        "Which credential the archive is read with: chain, workload-identity, managed-identity, client-certificate, client-secret, azure-cli or account-key.",
        "--auth",
        "WHOCALLED_AUTH",
    ),
    key(
        "tenant_id",
        "\"00000000-0000-0000-0000-000000000000\"",
        "The Entra tenant, for a client certificate or secret, or workload identity.",
        "--tenant-id",
        "AZURE_TENANT_ID",
    ),
    key(
        "client_id",
        "\"00000000-0000-0000-0000-000000000000\"",
        "The client id of an application or a user-assigned managed identity.",
        "--client-id",
        "AZURE_CLIENT_ID",
    ),
    key(
        "client_certificate",
        "\"whocalled.pem\"",
        "A PEM file with an application's certificate and its RSA private key.",
        "--client-certificate",
        "WHOCALLED_CLIENT_CERTIFICATE",
    ),
    key(
        "authority_host",
        "\"https://login.microsoftonline.com\"",
        "Where tokens come from; the authority of the cloud that the account is in where it is absent.",
        "--authority-host",
        "AZURE_AUTHORITY_HOST",
    ),
    key("threads", "2", "How many cores are used; all of them where it is absent.", "--threads", "WHOCALLED_THREADS"),
    key("memory_mib", "4096", "How much memory queries may use, in MiB.", "--memory-mib", "WHOCALLED_MEMORY_MIB"),
    key(
        "attribution",
        "{ weights = { digits_differ = 0 } }",
        "Weights of the evidence that replace the model's; the view `weights` has their names.",
        "",
        "",
    ),
];

impl Settings {
    /// Reads the settings file: the one named, which must exist, or the default one if it does.
    pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Usage(format!("cannot read settings file {}: {error}", path.display())).into()),
        };
        let settings = Self::parse(&text).with_context(|| format!("settings file {}", path.display()))?;
        Ok(Self { file: Some(path.to_owned()), ..settings })
    }

    /// The weights of the evidence: the model's, and those that are set here.
    pub(crate) fn weights(&self) -> anyhow::Result<Weights> {
        let none = BTreeMap::new();
        let replaced = self.attribution.as_ref().map_or(&none, |it| &it.weights);
        Ok(Weights::with(replaced).map_err(|error| Usage(error.to_string()))?)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let wrong = |error: toml::de::Error| Usage(error.to_string().trim_end().to_owned());
        let table: toml::Table = text.parse().map_err(wrong)?;
        for name in table.keys() {
            if KEYS.iter().any(|key| key.name == name) {
                continue;
            }
            let nearest = KEYS.iter().max_by(|a, b| similarity(name, a.name).total_cmp(&similarity(name, b.name)));
            let nearest = nearest.map_or("", |key| key.name);
            return Err(Usage(format!("unknown key {name:?}; the nearest that is known is {nearest:?}")).into());
        }
        Ok(table.try_into::<Self>().map_err(wrong)?)
    }
}

fn similarity(left: &str, right: &str) -> f64 {
    strsim::jaro_winkler(left, right)
}

/// The text that `whocalled init` writes: every key, commented out, with what it means.
pub(crate) fn template() -> String {
    let mut text =
        String::from("# Settings of whocalled. Flags come before the environment, and both before this file.\n");
    for key in KEYS {
        text.push_str(&format!("\n# {}\n# {} = {}\n", key.about, key.name, key.example));
    }
    text
}
