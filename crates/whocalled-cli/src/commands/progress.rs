//! How far a run is: a bar on a terminal, plain lines elsewhere.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use whocalled_pipeline::Progress;

use crate::context::{Context, show_bytes};

/// How often a run says how far it is where nothing can be drawn.
const LINE_PERIOD: Duration = Duration::from_secs(10);

/// A display of bytes done, out of a total that is known once the archive is listed.
pub(super) struct Display {
    bar: ProgressBar,
    draws: bool,
    quiet: bool,
    last_line: Mutex<std::time::Instant>,
}

impl Display {
    pub(super) fn new(context: &Context) -> Self {
        let bar = if context.draws_progress() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let template = "{spinner} {bytes}/{total_bytes} [{bar:30}] {bytes_per_sec}, {eta} left {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self {
            bar,
            draws: context.draws_progress(),
            quiet: context.quiet,
            last_line: Mutex::new(std::time::Instant::now()),
        }
    }

    /// Takes what a conversion tells.
    pub(super) fn converted(&self, progress: Progress) {
        match progress {
            Progress::Planned { blob_count, bytes } => {
                self.bar.set_length(bytes);
                self.line(&format!("{blob_count} blobs with {} new", show_bytes(bytes)));
            }
            Progress::Converted { bytes } => self.advanced(bytes),
            Progress::Committed { batch, row_count } => {
                self.bar.set_message(format!("batch {batch} committed"));
                self.line(&format!("batch {batch} committed: {row_count} rows"));
            }
        }
    }

    /// Takes how many bytes there are to do.
    pub(super) fn begun(&self, bytes: u64) {
        self.bar.set_length(bytes);
    }

    /// Takes bytes that are done.
    pub(super) fn advanced(&self, bytes: u64) {
        self.bar.inc(bytes);
        let Ok(mut last_line) = self.last_line.lock() else { return };
        if last_line.elapsed() >= LINE_PERIOD {
            *last_line = std::time::Instant::now();
            let of =
                self.bar.length().filter(|it| *it > 0).map_or_else(String::new, |it| format!(" of {}", show_bytes(it)));
            self.line(&format!("{}{of} done", show_bytes(self.bar.position())));
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, text: &str) {
        use std::io::Write;
        if !self.draws && !self.quiet {
            drop(writeln!(std::io::stderr(), "{text}"));
        }
    }
}
