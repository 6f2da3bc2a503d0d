//! From Storage to Parquet in one command: the archive is in Azurite, on loopback and on the same cores.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::contender::Contender;
use super::{Bench, Job, PLAIN, Row, Source, check, thread_counts};
use crate::azurite::Azurite;
use crate::bench::peers::Peers;
use crate::bench::upload::upload;
use crate::bench::{fresh, input, page};

/// What everybody who reads from Storage takes, on all cores.
pub(super) fn measured(bench: &Bench<'_>, peers: Option<&Peers>) -> Result<Vec<Row>> {
    let archive = input::archive(&bench.binary, PLAIN.name, PLAIN.arguments, PLAIN.megabytes)?.join("archive");
    let directory = archive.join(input::CALLS);
    let (mut names, bytes) = (Vec::new(), input::bytes_below(&directory)?);
    list(&directory, "", &mut names)?;
    let azurite = Azurite::start()?;
    let sas = upload(&azurite, input::CALLS, &directory, names.iter().map(|it| (0, it.as_str())))?;
    let out = fresh("convert")?;
    let threads = thread_counts()[0];
    let source = Source::Azurite { azurite: &azurite, sas: &sas };
    eprintln!("{} in Azurite, {threads} threads", PLAIN.words);
    let rows =
        Job { binary: &bench.binary, source, out: &out, threads, peers }.contest(&PLAIN, bytes, bench.options.runs)?;
    check(&rows)?;
    input::remove(&out)?;
    Ok(rows)
}

/// The names of all files below a directory, relative to it, with slashes.
fn list(directory: &Path, prefix: &str, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_str().context("a blob's name is text")?);
        if entry.metadata()?.is_dir() {
            list(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

pub(super) fn markdown(rows: &[Row]) -> String {
    let clickhouse = rows.iter().find(|it| it.contender == Contender::ClickHouse);
    let line = |row: &Row| {
        let Row { contender, measured, bytes, shape, .. } = row;
        [
            format!("{:.2} GB in {shape}", *bytes as f64 / 1e9),
            contender.name().to_owned(),
            measured.seconds(),
            format!("{:.0}", measured.megabytes_per_second(*bytes)),
            clickhouse.map_or(String::new(), |it| measured.times(&it.measured)),
            format!("{:.2}", measured.cpu().as_secs_f64()),
            measured.peak_mebibytes(),
        ]
    };
    let head = ["archive in Azurite", "converter", "seconds (min to max)", "MB/s", "× ClickHouse", "CPU s", "peak MiB"];
    format!(
        "\nStraight from Azurite, which is on the same cores; the answers are equal:\n\n{}",
        page::table(head, &rows.iter().map(line).collect::<Vec<_>>())
    )
}
