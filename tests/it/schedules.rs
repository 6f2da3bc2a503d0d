//! Any schedule of what may happen to blobs between runs, against a model that says what the lake
//! must show after every run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;
use whocalled_tests::contents::contents;
use whocalled_tests::local_archive::{blob_name, record_id};
use whocalled_tests::program::run;

/// A time by which every blob is sealed, and one by which none is.
const LONG_AGO: Duration = Duration::from_secs(1_700_000_000);
const TO_COME: Duration = Duration::from_secs(2_000_000_000);
/// The blob whose records are wrapped in an array, whose end is written over as it grows.
const WRAPPED: u8 = 3;
const WRAPPER: &[u8] = b"{\"records\":[";

/// By this many bytes a record is told from other layouts. What is torn before, and goes on with
/// rubbish, may be taken for a record that spans lines.
const TOLD_BYTES: usize = 9;

/// What the lake must show of a blob.
#[derive(Debug, Default)]
struct Held {
    /// The blob as it was when it was last read to some effect.
    seen: Vec<u8>,
    /// How long it was when a run last looked.
    length: usize,
    generation: u32,
    /// How many bytes of it are committed.
    position: usize,
    /// Where its records begin, and what tells them.
    records: Vec<(usize, String)>,
}

/// A directory archive, and what the lake must show of it.
struct Model {
    scratch: TempDir,
    blobs: BTreeMap<u8, Vec<u8>>,
    /// Blobs that were deleted, as they were.
    deleted: BTreeMap<u8, Vec<u8>>,
    /// Blobs that have been quiet for long.
    quiet: BTreeSet<u8>,
    held: BTreeMap<u8, Held>,
}

impl Model {
    fn new() -> Self {
        let scratch = TempDir::new().expect("a scratch directory");
        fs::create_dir_all(scratch.path().join("archive/insights-logs-requestresponse")).expect("a container");
        let (blobs, deleted) = (BTreeMap::new(), BTreeMap::new());
        Self { scratch, blobs, deleted, quiet: BTreeSet::new(), held: BTreeMap::new() }
    }

    fn path(&self, blob: u8) -> PathBuf {
        self.scratch.path().join("archive").join(name(blob))
    }

    fn bytes(&self, blob: u8) -> Vec<u8> {
        self.blobs.get(&blob).cloned().unwrap_or_default()
    }

    fn append(&mut self, blob: u8, bytes: &[u8]) {
        let path = self.path(blob);
        fs::create_dir_all(path.parent().expect("an hour's folder")).expect("an hour's folder");
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a blob");
        file.write_all(bytes).expect("an append");
        self.blobs.entry(blob).or_default().extend_from_slice(bytes);
        self.quiet.remove(&blob);
    }

    fn write(&mut self, blob: u8, bytes: Vec<u8>) {
        let path = self.path(blob);
        fs::create_dir_all(path.parent().expect("an hour's folder")).expect("an hour's folder");
        fs::write(path, &bytes).expect("a blob");
        self.blobs.insert(blob, bytes);
        self.quiet.remove(&blob);
    }

    /// Writes a blob anew where there is one.
    fn rewrite(&mut self, blob: u8, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        if let Some(bytes) = self.blobs.get(&blob) {
            let bytes = change(bytes.clone());
            self.write(blob, bytes);
        }
    }

    fn set_time(&mut self, blob: u8, time: Duration) {
        if let Ok(file) = OpenOptions::new().append(true).open(self.path(blob)) {
            file.set_modified(UNIX_EPOCH + time).expect("a time");
            if time == LONG_AGO {
                self.quiet.insert(blob)
            } else {
                self.quiet.remove(&blob)
            };
        }
    }

    fn delete(&mut self, blob: u8) {
        if let Some(bytes) = self.blobs.remove(&blob) {
            fs::remove_file(self.path(blob)).expect("a lifecycle rule");
            self.deleted.insert(blob, bytes);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Append(blob, id, end) => self.append(blob, format!("{}{end}", record(id)).as_bytes()),
            Event::Torn(blob, id, cut) => {
                let record = record(id);
                let cut = TOLD_BYTES + cut.index(record.len() - TOLD_BYTES);
                self.append(blob, &record.as_bytes()[..cut]);
            }
            Event::Rubbish(blob) => self.append(blob, b"\r\n\nrubbish\n"),
            Event::Wrapped(id, is_whole) => {
                let mut bytes = self.bytes(WRAPPED);
                let (records, _) = wrapped(&bytes, false);
                match records.last() {
                    None => bytes = WRAPPER.to_vec(),
                    Some((at, record)) => {
                        bytes.truncate(at + record.len());
                        bytes.push(b',');
                    }
                }
                bytes.extend_from_slice(record(id).as_bytes());
                if is_whole {
                    bytes.extend_from_slice(b"]}");
                } else {
                    bytes.truncate(bytes.len() - 20);
                }
                self.write(WRAPPED, bytes);
            }
            Event::Touch(blob) => self.set_time(blob, TO_COME),
            Event::Quiet(blob) => self.set_time(blob, LONG_AGO),
            Event::Truncate(blob, length) => self.rewrite(blob, |mut bytes| {
                let length = length.index(bytes.len() + 1);
                bytes.truncate(if length < TOLD_BYTES { 0 } else { length });
                bytes
            }),
            Event::Replace(blob, id) => self.rewrite(blob, |_| {
                let text = record(id);
                format!("{}\n{text}\n", text.replace("13:00", "13:59")).into_bytes()
            }),
            Event::ReplaceSameLength(blob) => self.rewrite(blob, |bytes| same_length(&bytes)),
            Event::Delete(blob) => self.delete(blob),
            Event::Reappear(blob) => {
                if let (Some(bytes), false) = (self.deleted.remove(&blob), self.blobs.contains_key(&blob)) {
                    self.write(blob, bytes);
                }
            }
            Event::Convert => self.check(),
        }
    }

    /// Converts, and finds in the lake what the model says.
    fn check(&mut self) {
        run(self.scratch.path(), &["convert", "archive", "--lake", "lake", "--quiet"]).success();
        for (blob, bytes) in &self.blobs {
            let sealed = self.quiet.contains(blob);
            match self.held.get_mut(blob) {
                Some(held) => held.see(*blob, bytes, sealed),
                None => {
                    let mut held = Held::default();
                    held.read(*blob, bytes, sealed);
                    // A blob without any complete record leaves no trace.
                    if held.position > 0 {
                        self.held.insert(*blob, held);
                    }
                }
            }
        }
        let rows = self.held.iter().flat_map(|(blob, held)| {
            let generation = held.generation;
            held.records.iter().map(move |(at, id)| format!("{} {generation} {at} {id}", name(*blob)))
        });
        let mut rows: Vec<String> = rows.collect();
        rows.sort();
        let shown = contents(&self.scratch.path().join("lake")).expect("a lake");
        assert_eq!(shown.rows, rows);
        for (blob, held) in &self.held {
            assert_eq!(shown.positions[&name(*blob)], (held.generation, held.position as u64), "blob {blob}");
        }
    }
}

impl Held {
    /// What a run makes of the blob when it has seen it before.
    fn see(&mut self, blob: u8, bytes: &[u8], sealed: bool) {
        // A touch is no reason to read, nor is what was torn and still is.
        if bytes.len() == self.length && (self.position == bytes.len() || !sealed) {
            return;
        }
        let is_prefix = bytes.len() >= self.position && bytes[..self.position] == self.seen[..self.position];
        if !is_prefix || blob != WRAPPED && goes_on(&bytes[..self.position], &bytes[self.position..]) {
            *self = Self { generation: self.generation + 1, seen: bytes.to_vec(), ..Self::default() };
        }
        self.read(blob, bytes, sealed);
    }

    fn read(&mut self, blob: u8, bytes: &[u8], sealed: bool) {
        let (records, position) = if blob == WRAPPED {
            let (records, position) = wrapped(bytes, sealed);
            (records.into_iter().filter(|(at, _)| *at >= self.position).collect(), position)
        } else {
            lines(bytes, self.position, sealed)
        };
        self.length = bytes.len();
        if position > self.position {
            self.position = position;
            self.seen = bytes.to_vec();
        }
        self.records.extend(records.into_iter().map(|(at, text)| (at, record_id(text.as_bytes()))));
    }
}

/// Whether the last line, which was taken without its line break, has more to it.
fn goes_on(taken: &[u8], rest: &[u8]) -> bool {
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    !taken.is_empty() && !taken.ends_with(b"\n") && !line.trim_ascii().is_empty()
}

/// The lines from `at` on, and where what is left begins: a last one without a line break is left,
/// unless the blob is sealed and it is a whole object.
fn lines(bytes: &[u8], mut at: usize, sealed: bool) -> (Vec<(usize, String)>, usize) {
    let mut records = Vec::new();
    let text = |line: &[u8]| String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
    loop {
        at += bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let rest = &bytes[at..];
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(length) => {
                records.push((at, text(&rest[..length])));
                at += length + 1;
            }
            None if sealed && object_length(rest).is_some_and(|length| length == rest.trim_ascii_end().len()) => {
                records.push((at, text(rest)));
                return (records, bytes.len());
            }
            None => return (records, at),
        }
    }
}

/// The whole records of a wrapper, and where what is left begins: what closes it, unless it is
/// sealed.
fn wrapped(bytes: &[u8], sealed: bool) -> (Vec<(usize, String)>, usize) {
    let (mut records, mut at) = (Vec::new(), WRAPPER.len());
    if !bytes.starts_with(WRAPPER) {
        return (records, 0);
    }
    loop {
        at += usize::from(bytes.get(at) == Some(&b','));
        match object_length(&bytes[at..]) {
            Some(length) if bytes[at] == b'{' => {
                records.push((at, String::from_utf8_lossy(&bytes[at..at + length]).into_owned()));
                at += length;
            }
            _ if sealed && &bytes[at..] == b"]}" => return (records, bytes.len()),
            _ => return (records, at),
        }
    }
}

/// Where the brackets that open are closed, outside strings.
fn object_length(bytes: &[u8]) -> Option<usize> {
    let (mut open, mut in_string) = (0, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'"' => in_string = !in_string,
            b'{' if !in_string => open += 1,
            b'}' if !in_string && open == 1 => return Some(at + 1),
            b'}' if !in_string => open -= 1,
            _ => {}
        }
    }
    None
}

/// Other bytes of the same length: every record's hour is another.
fn same_length(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 1..bytes.len() {
        if bytes[at - 1] == b'T' && bytes[at].is_ascii_digit() {
            bytes[at] = if bytes[at] == b'1' { b'0' } else { b'1' };
        }
    }
    bytes
}

fn name(blob: u8) -> String {
    blob_name("RequestResponse", blob.into())
}

fn record(id: u32) -> String {
    format!(
        "{{\"time\":\"2026-11-01T13:00:00Z\",\"category\":\"RequestResponse\",\"x\":\"é\",\"correlationId\":\"{id}\"}}"
    )
}

/// What may happen between two runs.
#[derive(Debug, Clone)]
enum Event {
    /// A record, and what ends it: a line break of either kind, or nothing.
    Append(u8, u32, &'static str),
    /// The beginning of a record, which may end within a character.
    Torn(u8, u32, Index),
    Rubbish(u8),
    /// A wrapper grows over what closed it, whole or with a torn record.
    Wrapped(u32, bool),
    Touch(u8),
    Quiet(u8),
    Truncate(u8, Index),
    Replace(u8, u32),
    ReplaceSameLength(u8),
    Delete(u8),
    Reappear(u8),
    Convert,
}

fn event() -> impl Strategy<Value = Event> {
    let blob = 0..3_u8;
    let any_blob = 0..=WRAPPED;
    let end = prop::sample::select(vec!["\n", "\n", "\r\n", ""]);
    prop_oneof![
        6 => (blob.clone(), any::<u32>(), end).prop_map(|(blob, id, end)| Event::Append(blob, id, end)),
        3 => (blob.clone(), any::<u32>(), any::<Index>()).prop_map(|(blob, id, cut)| Event::Torn(blob, id, cut)),
        1 => blob.clone().prop_map(Event::Rubbish),
        2 => (any::<u32>(), prop::bool::weighted(0.7)).prop_map(|(id, is_whole)| Event::Wrapped(id, is_whole)),
        1 => any_blob.clone().prop_map(Event::Touch),
        3 => any_blob.clone().prop_map(Event::Quiet),
        1 => (blob.clone(), any::<Index>()).prop_map(|(blob, length)| Event::Truncate(blob, length)),
        1 => (blob.clone(), any::<u32>()).prop_map(|(blob, id)| Event::Replace(blob, id)),
        1 => blob.prop_map(Event::ReplaceSameLength),
        1 => any_blob.clone().prop_map(Event::Delete),
        1 => any_blob.prop_map(Event::Reappear),
        5 => Just(Event::Convert),
    ]
}

proptest! {
    // Each case starts the program several times.
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_ends_with_every_record_once(events in prop::collection::vec(event(), 6..24)) {
        let mut model = Model::new();
        for event in events {
            model.happen(event);
        }
        model.check();
        // As it will be in the end: quiet.
        (0..=WRAPPED).for_each(|blob| model.happen(Event::Quiet(blob)));
        model.check();
    }
}

fn check(events: impl IntoIterator<Item = Event>) -> Model {
    let mut model = Model::new();
    for event in events {
        model.happen(event);
    }
    model.check();
    model
}

#[test]
fn a_record_taken_without_its_line_break_is_kept_or_taken_back() {
    use Event::{Append, Convert, Quiet};
    // More follows on the same line, which is then no record, and is rejected as a whole.
    let more = [Append(0, 1, ""), Quiet(0), Convert, Append(0, 2, "\n"), Append(0, 3, "\n"), Quiet(0)];
    let more = check(more);
    assert_eq!((more.held[&0].records.len(), more.held[&0].generation), (2, 1));
    // The line break comes a day late.
    let mut late = check([Append(0, 1, ""), Quiet(0)]);
    late.append(0, b"\r\n");
    late.happen(Append(0, 2, "\n"));
    late.check();
    assert_eq!((late.held[&0].records.len(), late.held[&0].generation), (2, 0));
}

#[test]
fn a_wrapper_that_is_written_over_after_it_was_sealed_is_read_anew() {
    use Event::{Convert, Quiet, Wrapped};
    let model =
        check([Wrapped(1, true), Convert, Wrapped(2, true), Convert, Quiet(WRAPPED), Convert, Wrapped(3, true)]);
    let held = &model.held[&WRAPPED];
    assert_eq!((held.records.len(), held.generation), (3, 1));
}

#[test]
fn a_blob_that_disappears_keeps_its_rows_and_goes_on_when_it_is_back() {
    use Event::{Append, Convert, Delete, Reappear};
    let gone = [Append(0, 1, "\n"), Append(1, 2, "\n"), Convert, Delete(0), Convert];
    let mut model = check(gone);
    assert_eq!(model.held[&0].records.len(), 1);
    model.happen(Reappear(0));
    model.happen(Append(0, 3, "\n"));
    model.check();
    assert_eq!((model.held[&0].records.len(), model.held[&0].generation), (2, 0));
}

/// Its length is what is committed of the one before, of which more had been looked at.
#[test]
fn a_blob_that_is_written_anew_after_a_torn_one_was_looked_at_is_read_anew() {
    use Event::{Append, Convert, Delete};
    let anew = check([Append(0, 1, "\n"), Convert, Append(0, 2, ""), Convert, Delete(0), Append(0, 3, "\n")]);
    let held = &anew.held[&0];
    assert_eq!((held.records.len(), held.generation), (1, 1));
}

/// In a directory, which knows no time of creation, other bytes of the same length look like a touch,
/// until the blob grows. `verify` tells them apart.
#[test]
fn other_bytes_of_the_same_length_are_found_by_verify_and_read_with_the_next_growth() {
    use Event::{Append, Convert, ReplaceSameLength};
    let mut model = check([Append(0, 1, "\n"), Convert, ReplaceSameLength(0)]);
    let verified = run(model.scratch.path(), &["verify", "archive", "--lake", "lake", "--all"]);
    assert_eq!(verified.code, 7, "{}", verified.stderr);
    assert!(verified.stdout.contains("other bytes"), "{}", verified.stdout);
    model.happen(Append(0, 2, "\n"));
    model.check();
    assert_eq!((model.held[&0].records.len(), model.held[&0].generation), (2, 1));
    run(model.scratch.path(), &["verify", "archive", "--lake", "lake", "--all"]).success();
}
