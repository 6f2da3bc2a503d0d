//! `cargo xtask bench fetch`: copying archives of three shapes, beside rclone, from two services.
//!
//! Clients take turns, each after its copy was removed, so that whatever else the machine does meets
//! all of them. Copies are compared with the archive, byte for byte, before a figure counts.

mod archive;
mod client;
mod listing;
mod rclone;
mod server;
mod service;
mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::archive::{Archive, Hour, Shape};
use self::client::Client;
use self::server::Requests;
use self::service::{Kind, Service};
use self::table::{Asked, Fetched, Row};
use super::measure::{self, Measured, Run};
use super::page;
use crate::cargo;

/// Of these the one that is quickest in a trial competes.
const RCLONE_TRANSFERS: [u32; 3] = [8, 16, 32];

/// What to fetch, and from where.
#[derive(Args)]
#[command(next_help_heading = "Options of fetch")]
pub(super) struct FetchOptions {
    /// Fetch so many blobs of so many KiB; may be repeated [default: 2000x256, 20x65536 and 20000x4]
    #[arg(long = "shape", value_name = "COUNTxKIB")]
    shapes: Vec<Shape>,
    /// Fetch from this; may be repeated [default: both]
    #[arg(long = "service", value_enum)]
    services: Vec<Kind>,
}

/// Measures everything asked for and prints it as Markdown.
pub(super) fn run(options: &FetchOptions, bench: &super::Bench<'_>) -> Result<()> {
    let (binary, runs, directory) = (&bench.binary, bench.options.runs, &super::fresh("fetch")?);
    let shapes = if options.shapes.is_empty() { &Shape::STANDARD[..] } else { &options.shapes };
    let services = if options.services.is_empty() { &Kind::ALL[..] } else { &options.services };
    let mut versions = cargo::probe(binary, "--version").context("the binary does not run")?;
    let rclone = rclone::find().inspect_err(|error| eprintln!("rclone is not measured: {error:#}")).ok();
    if let Some(program) = &rclone {
        versions += &format!(", {}", rclone::version(program));
    }
    if Client::curl().is_none() {
        eprintln!("curl is not measured: it is not installed");
    }

    let mut rows = Vec::new();
    for &shape in shapes {
        let path = directory.join("archive");
        let mut archive =
            Archive::write(path.clone(), shape, Hour::now()).context("the archive could not be written")?;
        for &kind in services {
            eprintln!("{} from {}", shape.words(), kind.name());
            match Service::start(kind, &archive) {
                Err(error) => eprintln!("{} is not measured: {error:#}", kind.name()),
                Ok(service) => {
                    let mut bench = Bench { service, archive: &mut archive, directory, runs };
                    rows.extend(bench.rows(kind, shape, binary, rclone.as_deref())?);
                    archive.shrink(shape)?;
                }
            }
        }
        fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    if rows.is_empty() {
        bail!("nothing was measured");
    }
    page::publish("fetch", &table::markdown(&rows, &versions, runs), bench.options.write)
}

/// One archive at one service.
struct Bench<'a> {
    service: Service,
    archive: &'a mut Archive,
    directory: &'a Path,
    runs: u32,
}

impl Bench<'_> {
    fn rows(&mut self, kind: Kind, shape: Shape, binary: &Path, rclone: Option<&Path>) -> Result<Vec<Row>> {
        let mut clients = vec![Client::Whocalled { binary: binary.to_owned() }];
        // Its first run is a trial too: it warms the service up, and does not count.
        self.fetch_whole(&clients[0])?;
        if let Some(program) = rclone {
            clients.push(self.quickest_rclone(program)?);
        }
        let comparable = clients.len();
        Client::tell_curl(&self.service, self.archive, self.directory)?;
        clients.extend(Client::curl());

        let bytes = self.archive.bytes();
        let whole = self.take_turns(&clients, |bench, client| bench.fetch_whole(client))?;
        for client in &clients {
            self.archive.compare(&client.copy(self.directory)).with_context(|| not_copied(client))?;
        }
        let clients_that_list = &clients[..comparable];
        let again = self.take_turns(clients_that_list, |bench, client| bench.fetch(client))?;
        let grown = self.take_turns(clients_that_list, |bench, client| {
            if client == &clients_that_list[0] {
                let grown = bench.archive.grow()?;
                bench.service.update(bench.archive, grown)?;
                bench.service.take_requests();
            }
            bench.fetch(client)
        })?;
        for client in clients_that_list {
            self.archive.compare(&client.copy(self.directory)).with_context(|| not_copied(client))?;
        }
        for client in &clients {
            self.remove(client)?;
        }

        let (mut again, mut grown) = (again.into_iter(), grown.into_iter());
        let row = |(client, whole): (&Client, Fetched)| Row {
            service: kind.name(),
            shape,
            client: client.name(),
            bytes,
            whole,
            again: again.next(),
            grown: grown.next(),
        };
        Ok(clients.iter().zip(whole).map(row).collect())
    }

    /// Every client's runs; within each round, one after the other.
    fn take_turns(
        &mut self,
        clients: &[Client],
        run: impl Fn(&mut Self, &Client) -> Result<(Run, Asked)>,
    ) -> Result<Vec<Fetched>> {
        let mut runs: Vec<_> = clients.iter().map(|_| (Vec::new(), Asked::Unknown)).collect();
        for _ in 0..self.runs {
            for (client, (runs, asked)) in clients.iter().zip(&mut runs) {
                let (run, asked_now) = run(self, client)?;
                runs.push(run);
                *asked = asked_now;
            }
        }
        Ok(runs.into_iter().map(|(runs, asked)| Fetched { measured: Measured::new(runs), asked }).collect())
    }

    fn quickest_rclone(&mut self, program: &Path) -> Result<Client> {
        let mut quickest = None;
        for transfers in RCLONE_TRANSFERS {
            let client = Client::Rclone { program: program.to_owned(), transfers };
            let (run, _) = self.fetch_whole(&client)?;
            if quickest.as_ref().is_none_or(|(took, _)| run.took < *took) {
                quickest = Some((run.took, client));
            }
        }
        quickest.map(|(_, client)| client).context("rclone was not tried")
    }

    fn fetch_whole(&mut self, client: &Client) -> Result<(Run, Asked)> {
        self.remove(client)?;
        self.fetch(client)
    }

    fn fetch(&mut self, client: &Client) -> Result<(Run, Asked)> {
        self.service.take_requests();
        let run = measure::once(&mut client.command(&self.service, self.directory))?;
        let told = matches!(client, Client::Whocalled { .. }).then(|| requests_told(&run.stdout)).flatten();
        let counted = self.service.take_requests();
        if let (Some(told), Some(Requests { listings, reads, others })) = (told, counted)
            && told != listings + reads + others
        {
            eprintln!("whocalled tells of {told} requests; {} were counted", listings + reads + others);
        }
        let asked = counted.map(Asked::Counted).or(told.map(Asked::Told)).unwrap_or(Asked::Unknown);
        Ok((run, asked))
    }

    fn remove(&self, client: &Client) -> Result<()> {
        let path = client.target(self.directory);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }
}

fn not_copied(client: &Client) -> String {
    format!("{} did not copy the archive", client.name())
}

/// The number of requests in the summary that `whocalled fetch` prints, if it gives one.
fn requests_told(summary: &str) -> Option<u64> {
    let (_, rest) = summary.split_once("\"requests\":")?;
    rest.split([',', '}', '\n']).next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_tells_of_requests() {
        assert_eq!(requests_told("{\n  \"blobs_listed\": 3,\n  \"requests\": 12,\n  \"gone\": []\n}"), Some(12));
        assert_eq!(requests_told("{\n  \"requests\": 12\n}\n"), Some(12));
        assert_eq!(requests_told("{\"blobs_listed\": 3}"), None);
    }
}
