//! What was measured, as Markdown.

use super::archive::Shape;
use super::server::Requests;
use crate::bench::measure::Measured;
use crate::bench::page;

/// What one client took to fetch one archive from one service.
pub(super) struct Row {
    pub(super) service: &'static str,
    pub(super) shape: Shape,
    pub(super) client: String,
    /// What the archive held when it was fetched whole.
    pub(super) bytes: u64,
    /// Everything, into an empty directory.
    pub(super) whole: Fetched,
    /// Once more, with nothing new.
    pub(super) again: Option<Fetched>,
    /// After one blob in a hundred has grown by a line.
    pub(super) grown: Option<Fetched>,
}

/// Some runs, and what each asked of the service.
pub(super) struct Fetched {
    pub(super) measured: Measured,
    pub(super) asked: Asked,
}

/// How many requests one run sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Unknown,
    /// As the client says.
    Told(u64),
    Counted(Requests),
}

impl Asked {
    fn total(self) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Told(total) => Some(total),
            Self::Counted(Requests { listings, reads, others }) => Some(listings + reads + others),
        }
    }

    fn a_blob(self, blobs: u32) -> String {
        self.total().map_or("".to_owned(), |total| format!("{:.2}", total as f64 / f64::from(blobs)))
    }

    fn words(self) -> String {
        match self {
            Self::Unknown => String::new(),
            Self::Told(total) => total.to_string(),
            Self::Counted(Requests { listings, reads, others: 0 }) => format!("{listings} + {reads}"),
            Self::Counted(Requests { listings, reads, others }) => format!("{listings} + {reads} + {others} others"),
        }
    }
}

/// The versions that were measured, and both tables.
pub(super) fn markdown(rows: &[Row], versions: &str, runs: u32) -> String {
    let mut text = page::conditions(versions, runs);
    text += "| service | blobs | client | seconds (min to max) | MB/s | × rclone | blobs/s | client CPU, ms a blob | \
             requests a blob | peak MiB |\n|---|---|---|---|---|---|---|---|---|---|\n";
    for row in rows {
        text += &whole(row, rows);
    }
    text += "\n| service | blobs | client | nothing new: s | requests | one in a hundred grown: s | requests |\n\
             |---|---|---|---|---|---|---|\n";
    for row in rows {
        text += &later(row);
    }
    text
}

fn whole(row: &Row, rows: &[Row]) -> String {
    let Row { service, shape, client, bytes, whole: Fetched { measured, asked }, .. } = row;
    let seconds = |it: std::time::Duration| it.as_secs_f64();
    let is_rclone = |it: &&Row| it.service == *service && it.shape == *shape && it.client.starts_with("rclone");
    let theirs = rows.iter().find(is_rclone).map(|it| it.whole.measured.median());
    let ratio = theirs.map_or(String::new(), |it| format!("{:.2}", seconds(it) / seconds(measured.median())));
    let blobs = f64::from(shape.blobs);
    format!(
        "| {service} | {} | {client} | {:.2} ({:.2} to {:.2}) | {:.0} | {ratio} | {:.0} | {:.2} | {} | {} |\n",
        shape.words(),
        seconds(measured.median()),
        seconds(measured.shortest()),
        seconds(measured.longest()),
        measured.megabytes_per_second(*bytes),
        blobs / seconds(measured.median()),
        seconds(measured.cpu()) * 1000.0 / blobs,
        asked.a_blob(shape.blobs),
        measured.peak_mebibytes(),
    )
}

fn later(row: &Row) -> String {
    let (Some(again), Some(grown)) = (&row.again, &row.grown) else { return String::new() };
    format!(
        "| {} | {} | {} | {:.2} | {} | {:.2} | {} |\n",
        row.service,
        row.shape.words(),
        row.client,
        again.measured.median().as_secs_f64(),
        again.asked.words(),
        grown.measured.median().as_secs_f64(),
        grown.asked.words(),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::measure::Run;

    fn fetched(seconds: u64, asked: Asked) -> Fetched {
        let run = Run {
            took: Duration::from_secs(seconds),
            cpu: Duration::from_secs(1),
            peak_bytes: Some(64 << 20),
            stdout: String::new(),
        };
        Fetched { measured: Measured::new(vec![run]), asked }
    }

    #[test]
    fn rates_are_compared_with_rclone_on_the_same_service_and_shape() {
        let shape = Shape { blobs: 2000, kibibytes: 250 };
        let counted = Asked::Counted(Requests { listings: 2, reads: 20, others: 0 });
        let row = |client: &str, seconds, later: bool| Row {
            service: "static",
            shape,
            client: client.to_owned(),
            bytes: 512_000_000,
            whole: fetched(seconds, Asked::Counted(Requests { listings: 2, reads: 1998, others: 0 })),
            again: later.then(|| fetched(1, Asked::Told(3))),
            grown: later.then(|| fetched(1, counted)),
        };
        let rows = [row("whocalled", 2, true), row("rclone, 8 transfers", 3, false)];
        let text = markdown(&rows, "v", 1);
        let ours =
            "| static | 2000 of 250 KiB | whocalled | 2.00 (2.00 to 2.00) | 256 | 1.50 | 1000 | 0.50 | 1.00 | 64 |";
        assert!(text.lines().any(|it| it == ours), "{text}");
        assert!(text.contains("| whocalled | 1.00 | 3 | 1.00 | 2 + 20 |\n"), "{text}");
        assert_eq!(text.matches("rclone, 8 transfers").count(), 1, "no second table's line without later runs");
    }
}
