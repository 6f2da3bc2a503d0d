//! Column chunks of dictionary-encoded text, written from their codes.
//!
//! The `parquet` crate looks up every value of such a column in a hash table of its own, and compares
//! every value for the bounds of its page, although Arrow's codes say both. Here the codes are the
//! dictionary's, and their order is that of the values, so the bounds are those of the codes.
//!
//! Format: Apache Parquet, `Encodings.md` (PLAIN dictionary page, RLE_DICTIONARY data pages, the
//! RLE/bit-packing hybrid) and data page header version 1.

use std::sync::Arc;

use arrow::array::{Array, StringArray};
use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Compression, Encoding, EncodingMask, PageType, ZstdLevel};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::properties::DEFAULT_BLOOM_FILTER_FPP;
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use crate::gather::NULL_CODE;

/// How many rows a page has; the `parquet` crate's own limit.
const PAGE_ROWS: usize = 20_000;

/// A column chunk, as it is appended to a row group.
pub(crate) struct LabelChunk {
    pub(crate) bytes: Bytes,
    pub(crate) close: ColumnCloseResult,
}

/// Encodes rows as codes into `values`, which are distinct and sorted, with a Bloom filter of those that occur if
/// `has_bloom`.
pub(crate) fn encode(
    descriptor: &ColumnDescPtr,
    values: &StringArray,
    codes: &[i32],
    has_bloom: bool,
) -> Result<LabelChunk> {
    let (dense, used) = dense(values.len(), codes);
    let bloom_filter = if has_bloom { Some(bloom_filter(used.iter().map(|code| values.value(*code)))?) } else { None };
    let mut chunk = Chunk {
        pages: Pages {
            sink: TrackedWrite::new(Vec::new()),
            compressor: zstd::bulk::Compressor::new(ZstdLevel::default().compression_level())?,
            written: Vec::new(),
        },
        column_index: ColumnIndexBuilder::new(descriptor.physical_type()),
        offset_index: OffsetIndexBuilder::new(),
        bit_width: bit_width(used.len()),
        is_optional: descriptor.max_def_level() > 0,
    };
    chunk.dictionary(values, &used)?;
    let mut bounds: Option<(u32, u32)> = None;
    let mut ordered = true;
    for page in codes.chunks(PAGE_ROWS) {
        let of_page = chunk.data(page, &dense, |code| values.value(used[code as usize]))?;
        let Some((low, high)) = of_page else {
            ordered = false;
            continue;
        };
        ordered &= bounds.is_none_or(|(_, highest)| highest <= low);
        bounds = Some(bounds.map_or((low, high), |(lowest, highest)| (lowest.min(low), highest.max(high))));
    }
    let null_count = codes.iter().filter(|code| **code == NULL_CODE).count();
    let text = |code: u32| ByteArray::from(values.value(used[code as usize]));
    let statistics = ValueStatistics::new(
        bounds.map(|it| text(it.0)),
        bounds.map(|it| text(it.1)),
        None,
        Some(null_count as u64),
        false,
    );
    if ordered {
        chunk.column_index.set_boundary_order(BoundaryOrder::ASCENDING);
    }
    chunk.close(descriptor, codes.len(), Statistics::ByteArray(statistics), bloom_filter)
}

/// A filter of distinct values, as large as they need.
fn bloom_filter<'v>(values: impl ExactSizeIterator<Item = &'v str>) -> Result<Sbbf> {
    let mut filter = Sbbf::new_with_ndv_fpp(values.len() as u64, DEFAULT_BLOOM_FILTER_FPP)?;
    values.for_each(|value| filter.insert(value));
    Ok(filter)
}

/// For each code its place among those that occur, and the other way round.
fn dense(value_count: usize, codes: &[i32]) -> (Vec<u32>, Vec<usize>) {
    let mut occurs = vec![false; value_count];
    for code in codes {
        if let Some(occurs) = occurs.get_mut(index(*code)) {
            *occurs = true;
        }
    }
    let used: Vec<usize> = (0..value_count).filter(|code| occurs[*code]).collect();
    let mut dense = vec![0; value_count];
    for (place, code) in (0..).zip(&used) {
        dense[*code] = place;
    }
    (dense, used)
}

/// Where the value of a code is; nowhere for NULL.
fn index(code: i32) -> usize {
    usize::try_from(code).unwrap_or(usize::MAX)
}

/// How many bits it takes to tell that many codes apart.
fn bit_width(code_count: usize) -> u8 {
    // At most 32, as codes are.
    u8::try_from(usize::BITS - code_count.saturating_sub(1).leading_zeros()).unwrap_or(32)
}

struct Chunk {
    pages: Pages,
    column_index: ColumnIndexBuilder,
    offset_index: OffsetIndexBuilder,
    bit_width: u8,
    is_optional: bool,
}

impl Chunk {
    /// The page of the distinct values.
    fn dictionary(&mut self, values: &StringArray, used: &[usize]) -> Result<()> {
        let mut plain = Vec::new();
        for code in used {
            let text = values.value(*code).as_bytes();
            plain.extend_from_slice(&length(text.len())?.to_le_bytes());
            plain.extend_from_slice(text);
        }
        let num_values = length(used.len())?;
        let page = |buf| Page::DictionaryPage { buf, num_values, encoding: Encoding::PLAIN, is_sorted: true };
        self.pages.write(&plain, page).map(drop)
    }

    /// A page of rows; the lowest and the highest code of them, among those that occur.
    fn data<'v>(&mut self, page: &[i32], dense: &[u32], text: impl Fn(u32) -> &'v str) -> Result<Option<(u32, u32)>> {
        let codes: Vec<u32> = if page.contains(&NULL_CODE) {
            page.iter().filter_map(|code| dense.get(index(*code)).copied()).collect()
        } else {
            page.iter().map(|code| dense[index(*code)]).collect()
        };
        let null_count = page.len() - codes.len();
        let mut plain = Vec::new();
        if self.is_optional {
            let mut levels = Vec::new();
            if null_count == 0 {
                run(1, page.len(), 1, &mut levels);
            } else {
                hybrid(&page.iter().map(|code| u32::from(*code != NULL_CODE)).collect::<Vec<_>>(), 1, &mut levels);
            }
            plain.extend_from_slice(&length(levels.len())?.to_le_bytes());
            plain.extend_from_slice(&levels);
        }
        plain.push(self.bit_width);
        hybrid(&codes, self.bit_width, &mut plain);
        let num_values = length(page.len())?;
        let written = self.pages.write(&plain, |buf| Page::DataPage {
            buf,
            num_values,
            encoding: Encoding::RLE_DICTIONARY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        })?;
        self.offset_index.append_row_count(i64::from(num_values));
        let (offset, size) = (signed(written.offset)?, i32::try_from(written.compressed_size).map_err(too_large)?);
        self.offset_index.append_offset_and_size(offset, size);
        let bounds = codes.iter().min().copied().zip(codes.iter().max().copied());
        let bytes = |code: u32| text(code).as_bytes().to_vec();
        let (low, high) = bounds.map_or_else(Default::default, |(low, high)| (bytes(low), bytes(high)));
        self.column_index.append(bounds.is_none(), low, high, signed(null_count as u64)?);
        Ok(bounds)
    }

    fn close(
        self,
        descriptor: &ColumnDescPtr,
        row_count: usize,
        statistics: Statistics,
        bloom_filter: Option<Sbbf>,
    ) -> Result<LabelChunk> {
        let Pages { sink, written, .. } = self.pages;
        let total = |bytes: fn(&PageWriteSpec) -> usize| signed(written.iter().map(bytes).sum::<usize>() as u64);
        let count = |page_type, encoding, pages: usize| -> Result<PageEncodingStats> {
            Ok(PageEncodingStats { page_type, encoding, count: i32::try_from(pages).map_err(too_large)? })
        };
        let data_pages = written.len() - 1;
        let metadata = ColumnChunkMetaData::builder(Arc::clone(descriptor))
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_encodings_mask(EncodingMask::new_from_encodings(
                [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY].iter(),
            ))
            .set_page_encoding_stats(vec![
                count(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1)?,
                count(PageType::DATA_PAGE, Encoding::RLE_DICTIONARY, data_pages)?,
            ])
            .set_total_compressed_size(total(|page| page.compressed_size)?)
            .set_total_uncompressed_size(total(|page| page.uncompressed_size)?)
            .set_num_values(signed(row_count as u64)?)
            .set_dictionary_page_offset(Some(0))
            .set_data_page_offset(written.get(1).map_or(Ok(0), |page| signed(page.offset))?)
            .set_statistics(statistics)
            .build()?;
        let bytes = Bytes::from(sink.into_inner()?);
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: row_count as u64,
            metadata,
            bloom_filter,
            column_index: Some(self.column_index.build()?),
            offset_index: Some(self.offset_index.build()),
        };
        Ok(LabelChunk { bytes, close })
    }
}

/// The pages written so far.
struct Pages {
    sink: TrackedWrite<Vec<u8>>,
    compressor: zstd::bulk::Compressor<'static>,
    written: Vec<PageWriteSpec>,
}

impl Pages {
    fn write(&mut self, plain: &[u8], page: impl FnOnce(Bytes) -> Page) -> Result<&PageWriteSpec> {
        let compressed = Bytes::from(self.compressor.compress(plain)?);
        let page = CompressedPage::new(page(compressed), plain.len());
        let written = SerializedPageWriter::new(&mut self.sink).write_page(page)?;
        self.written.push(written);
        self.written.last().ok_or_else(|| ParquetError::General("no page was written".to_owned()))
    }
}

/// How many numbers are packed together.
const GROUP: usize = 8;

/// Appends numbers of `width` bits in the RLE/bit-packing hybrid encoding: groups of eight that are all the same
/// as a run, together with what follows of it, and what lies between runs packed.
fn hybrid(numbers: &[u32], width: u8, out: &mut Vec<u8>) {
    let (mut packed_from, mut at) = (0, 0);
    while let Some(group) = numbers[at..].first_chunk::<GROUP>() {
        let first = group[0];
        if group.iter().fold(0, |differing, number| differing | (number ^ first)) != 0 {
            at += GROUP;
            continue;
        }
        pack(&numbers[packed_from..at], width, out);
        let length = GROUP + numbers[at + GROUP..].iter().take_while(|it| **it == first).count();
        run(first, length, width, out);
        at += length;
        packed_from = at;
    }
    pack(&numbers[packed_from..], width, out);
}

/// Appends a number so many times.
fn run(number: u32, length: usize, width: u8, out: &mut Vec<u8>) {
    varint(length << 1, out);
    out.extend_from_slice(&number.to_le_bytes()[..usize::from(width.div_ceil(8))]);
}

/// Appends one bit-packed stretch; its last group is filled up with zeros.
fn pack(numbers: &[u32], width: u8, out: &mut Vec<u8>) {
    if numbers.is_empty() {
        return;
    }
    let group_count = numbers.len().div_ceil(GROUP);
    varint(group_count << 1 | 1, out);
    let zeros = std::iter::repeat_n(0, group_count * GROUP - numbers.len());
    let (mut bits, mut bit_count) = (0_u64, 0);
    numbers.iter().copied().chain(zeros).for_each(|number| {
        bits |= u64::from(number) << bit_count;
        bit_count += width;
        if bit_count >= 32 {
            let [a, b, c, d, ..] = bits.to_le_bytes();
            out.extend_from_slice(&[a, b, c, d]);
            bits >>= 32;
            bit_count -= 32;
        }
    });
    // A group takes whole bytes.
    out.extend_from_slice(&bits.to_le_bytes()[..usize::from(bit_count / 8)]);
}

fn varint(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn length(bytes: usize) -> Result<u32> {
    u32::try_from(bytes).map_err(too_large)
}

fn signed(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(too_large)
}

fn too_large(error: std::num::TryFromIntError) -> ParquetError {
    ParquetError::General(format!("a column chunk is too large: {error}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, RecordBatch};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    /// Writes codes into a file of one column, and reads back what they stand for.
    #[track_caller]
    fn check(values: &[String], codes: &[i32], is_optional: bool) {
        let kind = if is_optional { "OPTIONAL" } else { "REQUIRED" };
        let schema = parse_message_type(&format!("message rows {{ {kind} BYTE_ARRAY label (STRING); }}"));
        let mut file = Vec::new();
        let properties = Arc::new(WriterProperties::new());
        let mut writer = SerializedFileWriter::new(&mut file, Arc::new(schema.unwrap()), properties).unwrap();
        let descriptor = writer.schema_descr().column(0);
        let chunk = encode(&descriptor, &values.iter().map(Some).collect(), codes, true).unwrap();
        let mut rows = writer.next_row_group().unwrap();
        rows.append_column(&chunk.bytes, chunk.close).unwrap();
        rows.close().unwrap();
        writer.close().unwrap();

        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
        let filter = reader.get_row_group_column_bloom_filter(0, 0).unwrap().unwrap();
        assert!(
            codes.iter().filter(|code| **code != NULL_CODE).all(|code| filter.check(values[index(*code)].as_str()))
        );
        assert!((0..1000).filter(|other| filter.check(format!("no value {other}").as_str())).count() < 150);
        let statistics = reader.metadata().row_group(0).column(0).statistics().cloned().unwrap();
        let used = || codes.iter().filter(|code| **code != NULL_CODE).map(|code| values[index(*code)].as_bytes());
        assert_eq!((statistics.min_bytes_opt(), statistics.max_bytes_opt()), (used().min(), used().max()));
        assert_eq!(statistics.null_count_opt(), Some((codes.len() - used().count()) as u64));
        let batches: Vec<RecordBatch> = reader.build().unwrap().collect::<Result<_, _>>().unwrap();
        let read: Vec<Option<&str>> =
            batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter()).collect();
        let written = codes.iter().map(|code| (*code != NULL_CODE).then(|| values[index(*code)].as_str()));
        assert_eq!(read, written.collect::<Vec<_>>());
    }

    #[test]
    fn labels_come_back_whatever_their_number_and_their_runs() {
        for value_count in [1, 2, 3, 8, 9, 255, 256, 257, 5000] {
            let mut values: Vec<String> = (0..value_count).map(|code| format!("value {code}")).collect();
            values.sort();
            // Runs of every length up to 40, over more than two pages.
            let runs = (0..2600).flat_map(|run| std::iter::repeat_n(run * 7 % value_count, index(run) % 40));
            let codes: Vec<i32> = runs.collect();
            check(&values, &codes, false);
            let with_nulls: Vec<i32> = codes
                .iter()
                .zip(0..)
                .map(|(code, row)| if row % 100 < 13 || row % 7 == 0 { NULL_CODE } else { *code })
                .collect();
            check(&values, &with_nulls, true);
        }
    }

    #[test]
    fn codes_of_more_than_two_bytes_come_back() {
        let values: Vec<String> = (0..70_000).map(|code| format!("{code:05}")).collect();
        check(&values, &(0..70_000).rev().collect::<Vec<_>>(), true);
    }

    #[test]
    fn only_values_that_occur_are_in_the_dictionary() {
        let values: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        check(&values, &[1, 1, 1], false);
        check(&values, &[NULL_CODE; 5], true);
    }
}
