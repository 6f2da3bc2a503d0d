//! `whocalled explain`: the evidence behind one call, and its raw record.

use std::io::Write;

use whocalled_convert::record_bytes;
use whocalled_fetch::Archive;
use whocalled_report::{RecordSource, explain};
use whocalled_types::BlobName;

use futures::TryStreamExt;

use crate::args::Explain;
use crate::context::Context;

/// How much of a blob is read at first to find the end of a record.
const RECORD_BYTES: u64 = 64 << 10;

pub(super) async fn run(context: &Context, args: &Explain) -> anyhow::Result<()> {
    let snapshot = context.snapshot(args.lake.lake.as_ref()).await?;
    let session = context.session(snapshot, &args.engine)?;
    let explanation = explain(&session, &args.correlation_id).await?;
    let mut out = std::io::stdout();
    write!(out, "{explanation}")?;
    if args.archive.archive.is_none() && context.settings.archive.is_none() {
        context.say("give --archive ARCHIVE to see the raw records");
        return Ok(());
    }
    let archive = context.archive(args.archive.archive.as_ref(), &args.archive.auth).await?;
    for record in &explanation.records {
        writeln!(out, "\nraw record at {} byte {}", record.blob, record.blob_offset)?;
        match raw(&archive, record).await? {
            Some(bytes) => writeln!(out, "{}", String::from_utf8_lossy(&bytes))?,
            None => writeln!(out, "(the archive no longer has it)")?,
        }
    }
    Ok(())
}

/// The bytes of a record, read back from its blob; `None` where the blob is gone.
async fn raw(archive: &Archive, record: &RecordSource) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(name) = BlobName::from_column(&record.blob) else { return Ok(None) };
    let mut pages = archive.list(&name.container, &name.name);
    let mut blob_bytes = None;
    while let Some(page) = pages.try_next().await? {
        blob_bytes = blob_bytes.or(page.iter().find(|blob| blob.name == name).map(|blob| blob.bytes));
    }
    let Some(blob_bytes) = blob_bytes.filter(|bytes| *bytes > record.blob_offset) else { return Ok(None) };
    let mut length = RECORD_BYTES;
    loop {
        let end = blob_bytes.min(record.blob_offset + length);
        let bytes = archive.read(&name, record.blob_offset..end).await?;
        if let Some(length) = record_bytes(&bytes) {
            return Ok(Some(bytes[..length].to_vec()));
        }
        if end == blob_bytes {
            return Ok(Some(bytes.to_vec()));
        }
        length *= 4;
    }
}
