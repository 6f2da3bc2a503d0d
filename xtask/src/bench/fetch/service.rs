//! What is fetched from: Azurite, which knows the whole protocol, or the static server, which is fast
//! and counts.

use anyhow::Result;
use clap::ValueEnum;

use super::archive::{Archive, CONTAINER, Grown};
use super::server::{Requests, Server};
use crate::azurite::Azurite;
use crate::bench::upload::upload;

/// The static server takes any SAS; whocalled wants one with a signature.
const SAS_FOR_STATIC: &str = "sv=2022-11-02&sig=none";

/// Which service to fetch from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// The pinned Azurite, in memory
    Azurite,
    /// A server of files that only counts requests
    Static,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Azurite, Self::Static];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Azurite => "Azurite",
            Self::Static => "static",
        }
    }
}

/// A running service that holds an archive.
pub(super) enum Service {
    Azurite { process: Azurite, sas: String },
    Static(Server),
}

impl Service {
    /// Starts it on a free port and gives it the archive.
    pub(super) fn start(kind: Kind, archive: &Archive) -> Result<Self> {
        match kind {
            Kind::Static => Ok(Self::Static(Server::start(archive)?)),
            Kind::Azurite => {
                let process = Azurite::start()?;
                let whole = archive.blobs.iter().map(|it| (0, it.name.as_str()));
                let sas = upload(&process, CONTAINER, &archive.directory, whole)?;
                Ok(Self::Azurite { process, sas })
            }
        }
    }

    /// Brings it up to date with blobs of the archive that have grown.
    pub(super) fn update(&self, archive: &Archive, grown: Vec<Grown>) -> Result<()> {
        match self {
            Self::Static(server) => server.update(archive),
            Self::Azurite { process, .. } => {
                let grown = grown.iter().map(|it| (it.from, it.name.as_str()));
                upload(process, CONTAINER, &archive.directory, grown)?;
            }
        }
        Ok(())
    }

    /// The URL of the account, of its container or of a blob, with a SAS.
    pub(super) fn url(&self, below: &str) -> String {
        match self {
            Self::Azurite { process, sas } => format!("{}{below}?{sas}", process.url()),
            Self::Static(server) => format!("{}{below}?{SAS_FOR_STATIC}", server.url()),
        }
    }

    /// What was asked since this was last called; Azurite does not count.
    pub(super) fn take_requests(&self) -> Option<Requests> {
        match self {
            Self::Azurite { .. } => None,
            Self::Static(server) => Some(server.take_requests()),
        }
    }
}
