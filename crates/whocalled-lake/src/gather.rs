//! Rows of several batches in one order: the sort keys, and the columns put together along them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int64Array, PrimitiveArray, RecordBatch, StringArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::{cast, interleave};
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;

/// One row of several batches: which batch, and which row of it.
pub(crate) type RowIndex = (usize, usize);

/// What rows are sorted by: numbers that are in the order of the values they stand for.
pub(crate) struct SortKeys {
    column_count: usize,
    /// The keys of a batch, row by row.
    batches: Vec<Vec<i64>>,
}

impl SortKeys {
    /// The keys of all rows by the named columns; NULL comes first.
    pub(crate) fn of(batches: &[RecordBatch], sort_by: &[String]) -> Result<Self, ArrowError> {
        let mut keys: Vec<Vec<i64>> =
            batches.iter().map(|batch| vec![i64::MIN; batch.num_rows() * sort_by.len()]).collect();
        for (place, name) in sort_by.iter().enumerate() {
            let columns: Vec<ArrayRef> = batches
                .iter()
                .map(|batch| Ok(Arc::clone(batch.column(batch.schema().index_of(name)?))))
                .collect::<Result<_, ArrowError>>()?;
            for (ranks, keys) in ranks(&columns)?.into_iter().zip(&mut keys) {
                for (row, rank) in ranks.iter().enumerate() {
                    keys[row * sort_by.len() + place] = rank.unwrap_or(i64::MIN);
                }
            }
        }
        Ok(Self { column_count: sort_by.len(), batches: keys })
    }

    /// Sorts rows by their keys. Rows with the same key stay as they came.
    pub(crate) fn sort(&self, rows: &mut [RowIndex]) {
        let count = self.column_count;
        let key = |(batch, row): RowIndex| &self.batches[batch][row * count..(row + 1) * count];
        match count {
            0 => {}
            // As the rows of nearly every table are sorted: with the keys beside them no comparison looks elsewhere.
            2 => {
                let mut keyed: Vec<([i64; 2], RowIndex)> =
                    rows.iter().map(|row| ([key(*row)[0], key(*row)[1]], *row)).collect();
                keyed.sort_by_key(|(key, _)| *key);
                rows.iter_mut().zip(keyed).for_each(|(row, (_, sorted))| *row = sorted);
            }
            _ => rows.sort_by(|left, right| key(*left).cmp(key(*right))),
        }
    }
}

/// The values of a column as numbers in the same order.
fn ranks(columns: &[ArrayRef]) -> Result<Vec<Int64Array>, ArrowError> {
    let is_text =
        columns.first().is_some_and(|column| matches!(column.data_type(), DataType::Utf8 | DataType::Dictionary(..)));
    if !is_text {
        // Instants, dates and integers are numbers already.
        return columns.iter().map(|column| Ok(cast(column, &DataType::Int64)?.as_primitive().clone())).collect();
    }
    let columns = columns.iter().map(encoded).collect::<Result<Vec<_>, _>>()?;
    let texts: BTreeSet<&str> = columns.iter().flat_map(|column| values(column).iter().flatten()).collect();
    let ranks: BTreeMap<&str, i64> = texts.into_iter().zip(0..).collect();
    let ranked = columns.iter().map(|column| {
        let ranks: Vec<Option<i64>> =
            values(column).iter().map(|text| text.and_then(|text| ranks.get(text).copied())).collect();
        codes(column).map(|code| code.and_then(|code| ranks[code])).collect()
    });
    Ok(ranked.collect())
}

/// A column of text with its distinct values apart.
fn encoded(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    cast(column, &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)))
}

fn values(column: &ArrayRef) -> &StringArray {
    column.as_dictionary::<Int32Type>().values().as_string()
}

fn codes(column: &ArrayRef) -> impl Iterator<Item = Option<usize>> {
    column.as_dictionary::<Int32Type>().keys().iter().map(|code| code.and_then(|code| usize::try_from(code).ok()))
}

/// Columns of the same name and type of several batches.
pub(crate) enum Parts {
    /// Dictionary-encoded text: the distinct values of all batches in their order, and for each batch
    /// its rows' codes among them; `NULL_CODE` for NULL.
    Labels {
        values: Arc<StringArray>,
        codes: Vec<Vec<i32>>,
        has_nulls: bool,
    },
    Plain(Vec<ArrayRef>),
}

/// Stands for NULL among codes.
pub(crate) const NULL_CODE: i32 = -1;

impl Parts {
    pub(crate) fn new(columns: Vec<ArrayRef>) -> Self {
        let is_label = |column: &ArrayRef| {
            column.as_dictionary_opt::<Int32Type>().is_some_and(|it| it.values().data_type() == &DataType::Utf8)
        };
        if !columns.iter().all(is_label) {
            return Self::Plain(columns);
        }
        let texts: BTreeSet<&str> = columns.iter().flat_map(used).collect();
        let ranks: BTreeMap<&str, i32> = texts.iter().copied().zip(0..).collect();
        let codes = columns.iter().map(|column| {
            let ranks: Vec<i32> = values(column)
                .iter()
                .map(|text| text.and_then(|it| ranks.get(it).copied()).unwrap_or(NULL_CODE))
                .collect();
            codes(column).map(|code| code.map_or(NULL_CODE, |code| ranks[code])).collect()
        });
        let codes = codes.collect();
        let has_nulls = columns.iter().any(|column| column.logical_null_count() > 0);
        Self::Labels { values: Arc::new(texts.into_iter().map(Some).collect()), codes, has_nulls }
    }

    /// How many bytes the rows take, about.
    pub(crate) fn byte_count(&self) -> usize {
        match self {
            Self::Labels { codes, .. } => codes.iter().map(|codes| size_of_val(codes.as_slice())).sum(),
            Self::Plain(columns) => columns.iter().map(|column| column.get_array_memory_size()).sum(),
        }
    }

    /// The values of those rows.
    pub(crate) fn gather(&self, rows: &[RowIndex]) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Plain(columns) => {
                let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
                interleave(&columns, rows)
            }
            Self::Labels { values, codes, has_nulls } => {
                let mut gathered: Vec<i32> = rows.iter().map(|(batch, row)| codes[*batch][*row]).collect();
                let nulls = has_nulls.then(|| gathered.iter().map(|code| *code != NULL_CODE).collect::<NullBuffer>());
                if nulls.is_some() {
                    gathered.iter_mut().for_each(|code| *code = (*code).max(0));
                }
                let keys = PrimitiveArray::<Int32Type>::try_new(ScalarBuffer::from(gathered), nulls)?;
                Ok(Arc::new(DictionaryArray::try_new(keys, Arc::clone(values) as ArrayRef)?))
            }
        }
    }
}

/// The distinct values of a column that some row has.
fn used(column: &ArrayRef) -> impl Iterator<Item = &str> {
    let mut used = vec![false; values(column).len()];
    codes(column).flatten().for_each(|code| used[code] = true);
    values(column).iter().zip(used).filter_map(|(text, used)| text.filter(|_| used))
}
