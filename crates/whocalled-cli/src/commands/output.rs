//! Writing results: to stdout, or to a file that appears whole or not at all.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;
use whocalled_report::{Answer, Format, render};

/// Writes an answer to stdout.
pub(super) async fn to_stdout(answer: Answer, format: Format) -> anyhow::Result<u64> {
    let mut out = BufWriter::new(std::io::stdout());
    let row_count = render(answer, format, &mut out).await?;
    out.flush()?;
    Ok(row_count)
}

/// Writes an answer to a file beside `path`, and puts it in its place.
pub(super) async fn to_file(answer: Answer, format: Format, path: &Path) -> anyhow::Result<u64> {
    let staging = path.with_extension("part");
    let file = File::create(&staging).with_context(|| format!("cannot write {}", staging.display()))?;
    let mut out = BufWriter::new(file);
    let row_count = render(answer, format, &mut out).await?;
    out.flush()?;
    fs::rename(&staging, path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(row_count)
}

/// A value as pretty JSON with a line break at its end.
pub(super) fn json(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}
