//! What became of a batch's reads, as ranges for the ledger and as figures of the receipt.

use arrow::record_batch::RecordBatch;
use whocalled_convert::Converted;
use whocalled_lake::{Batch, BlobAdvance, BlobState};
use whocalled_types::{Advance, BlobFinding, ErrorKind, Position, Table};

use crate::error::ends_run;
use crate::plan::{Finding, FindingKind, Read};
use crate::prepare::{Anew, Outcome, tail_hash};
use crate::receipt::{Failure, Receipt};
use crate::run::Options;

/// A batch, and the receipt as it is once the batch is committed.
pub(crate) struct Tally {
    pub(crate) batch: Batch,
    pub(crate) receipt: Receipt,
    /// A failure that every other blob would share.
    pub(crate) ending: Option<whocalled_fetch::Error>,
}

impl Tally {
    pub(crate) fn new(receipt: Receipt, options: &Options, archive: String) -> Self {
        let batch = Batch { run_id: options.run_id.clone(), archive, ..Batch::default() };
        Self { batch, receipt, ending: None }
    }

    /// Takes in rows of a table.
    pub(crate) fn rows(&mut self, table: Table, rows: RecordBatch) {
        *self.receipt.rows_by_table.entry(table.name().to_owned()).or_default() += rows.num_rows() as u64;
        self.batch.push(table, rows);
    }

    /// Takes in a committed blob that the archive has no more: its rows stay.
    pub(crate) fn gone(&mut self, blob: String, state: BlobState) {
        self.receipt.blobs_gone += 1;
        self.batch.advances.push(BlobAdvance {
            blob,
            advance: Advance { from: state.position.bytes, to: state.position },
            listed_bytes: state.listed_bytes,
            created_at: state.created_at,
            modified_at: state.modified_at,
            record_count: 0,
            row_count: 0,
            reject_count: 0,
            finding: Some(BlobFinding::Gone),
        });
    }

    /// Takes in what became of a read. Gives the read of what is still to come, of a blob that is
    /// read in parts or has to be read anew.
    pub(crate) fn account(&mut self, outcome: Outcome) -> Option<Read> {
        let Outcome { read, anew, converted, failure } = outcome;
        if let Some(why) = anew {
            return Some(self.anew(read, why));
        }
        let position = converted.as_ref().map_or(read.from, |it| it.position);
        let whole = failure.is_none() && read.upto == read.blob.bytes;
        let continues = failure.is_none() && !whole;
        if !continues {
            self.left(&read, position, failure);
        }
        let converted = converted?;
        let receipt = &mut self.receipt;
        receipt.bytes_committed += position - read.from;
        receipt.records += converted.record_count;
        receipt.rows += converted.row_count;
        receipt.rejects += converted.reject_count;
        let next = self.advance(read, &converted, whole);
        continues.then_some(next)
    }

    /// The whole of a blob that is to be read anew.
    fn anew(&mut self, read: Read, why: Anew) -> Read {
        // Whether the plan or this run counted the earlier generation's bytes as committed.
        self.receipt.bytes_already_committed -= read.planned_from;
        self.receipt.bytes_committed -= read.from - read.planned_from;
        let (kind, finding, detail) = match why {
            Anew::Rewritten => (FindingKind::Rewritten, BlobFinding::Rewritten, "are not there any more"),
            Anew::TakenBack => {
                (FindingKind::TakenBack, BlobFinding::Reopened, "ended in a record that goes on after all")
            }
        };
        let detail = format!("the {} committed bytes {detail}", read.from);
        self.receipt.found(Finding { blob: read.blob.name.to_string(), kind, detail });
        Read { finding: Some(finding), ..read.anew() }
    }

    /// Accounts for what was left of a blob after its last part.
    fn left(&mut self, read: &Read, position: u64, failure: Option<whocalled_fetch::Error>) {
        let receipt = &mut self.receipt;
        let (blob, left) = (read.blob.name.to_string(), read.blob.bytes - position);
        receipt.blobs_read += 1;
        let Some(error) = failure else {
            receipt.bytes_left.torn += left;
            if read.sealed && left > 0 {
                let detail = format!("its last {left} bytes are no complete record");
                receipt.found(Finding { blob, kind: FindingKind::Torn, detail });
            }
            return;
        };
        if is_gone(&error) {
            // A lifecycle rule's doing, say: nothing that another run could mend.
            receipt.bytes_left.gone += left;
            receipt.found(Finding { blob, kind: FindingKind::Gone, detail: error.to_string() });
            return;
        }
        receipt.bytes_left.failed += left;
        // An offline blob stays so until somebody rehydrates it, which the next whole listing shows.
        receipt.unsettled |= error.kind() != ErrorKind::Skip;
        receipt.failed(Failure { blob, position, reason: error.to_string() });
        if ends_run(&error) {
            self.ending.get_or_insert(error);
        }
    }

    /// The range of what was converted, if it is one, and the read of what follows it. `whole` is
    /// whether the blob was looked at to its end.
    fn advance(&mut self, mut read: Read, converted: &Converted, whole: bool) -> Read {
        let position = converted.position;
        if position == read.from && !whole {
            // A part without the end of a record: the next is to be longer.
            read.part_factor *= 2;
            return read;
        }
        // An empty range is one, too: it says how far the blob was looked at, so that a torn end is not
        // read again until it has changed or is to be sealed.
        let to = Position {
            generation: read.generation,
            bytes: position,
            framing: converted.framing,
            tail_bytes: converted.tail.len() as u64,
            tail_hash: tail_hash(&converted.tail),
        };
        self.batch.advances.push(BlobAdvance {
            blob: read.blob.name.to_string(),
            advance: Advance { from: read.from, to: to.clone() },
            // How far the blob was looked at: less than its length where the next run is to read on.
            listed_bytes: if whole { read.blob.bytes } else { position },
            created_at: read.blob.created_at,
            modified_at: read.blob.modified_at,
            record_count: converted.record_count,
            row_count: converted.row_count,
            reject_count: converted.reject_count,
            finding: read.finding,
        });
        read.go_on(to);
        read
    }
}

/// Whether a blob is not there as it was listed, so that no run can read it. One whose bytes are
/// offline is there, and can be rehydrated.
fn is_gone(error: &whocalled_fetch::Error) -> bool {
    error.kind() == ErrorKind::Skip && !matches!(error, whocalled_fetch::Error::Offline { .. })
}
