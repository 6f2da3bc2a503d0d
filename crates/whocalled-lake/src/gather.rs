//! Rows of several batches in one order: the sort keys, and the columns put together along them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::{cast, interleave};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::error::ArrowError;

/// One row of several batches: which batch, and which row of it.
pub(crate) type RowIndex = (usize, usize);

/// What rows are sorted by: numbers that are in the order of the values they stand for.
pub(crate) struct SortKeys {
    columns: Vec<SortColumn>,
}

/// A column of keys.
struct SortColumn {
    /// The keys of a batch, row by row.
    batches: Vec<Vec<i64>>,
    lowest: i64,
    /// How many bits tell its keys apart.
    bit_count: u32,
}

impl SortKeys {
    /// The keys of all rows by the named columns; NULL comes first.
    pub(crate) fn of(batches: &[RecordBatch], sort_by: &[String]) -> Result<Self, ArrowError> {
        let columns = sort_by.iter().map(|name| {
            let columns: Vec<ArrayRef> = batches
                .iter()
                .map(|batch| Ok(Arc::clone(batch.column(batch.schema().index_of(name)?))))
                .collect::<Result<_, ArrowError>>()?;
            Ok(SortColumn::new(ranks(&columns)?))
        });
        Ok(Self { columns: columns.collect::<Result<_, ArrowError>>()? })
    }

    /// Sorts rows by their keys. Rows with the same key stay as they came.
    pub(crate) fn sort(&self, rows: &mut [RowIndex]) {
        let place_bit_count = usize::BITS - rows.len().leading_zeros();
        let bit_count = self.columns.iter().map(|column| column.bit_count).sum::<u32>() + place_bit_count;
        if bit_count > u128::BITS {
            rows.sort_by(|left, right| self.keys(*left).cmp(self.keys(*right)));
            return;
        }
        // Nearly always the keys fit into one number, with the row's place below them; mostly into one of 64 bits, and the
        // shorter they are the sooner they are sorted.
        let packed = |(place, row): (u128, &RowIndex)| {
            let key = |key: u128, column: &SortColumn| key << column.bit_count | u128::from(column.above(*row));
            self.columns.iter().fold(0, key) << place_bit_count | place
        };
        let place = |key: u128| usize::try_from(key & ((1 << place_bit_count) - 1)).unwrap_or(usize::MAX);
        let keys = (0..).zip(&*rows).map(packed);
        let places: Vec<usize> = if bit_count > u64::BITS {
            sorted(keys).map(place).collect()
        } else {
            sorted(keys.map(|key| u64::try_from(key).unwrap_or(u64::MAX))).map(|key| place(key.into())).collect()
        };
        let unsorted = rows.to_vec();
        for (row, place) in rows.iter_mut().zip(places) {
            *row = unsorted[place];
        }
    }

    fn keys(&self, (batch, row): RowIndex) -> impl Iterator<Item = i64> {
        self.columns.iter().map(move |column| column.batches[batch][row])
    }
}

/// The numbers in their order.
fn sorted<T: Ord>(numbers: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let mut numbers: Vec<T> = numbers.collect();
    numbers.sort_unstable();
    numbers.into_iter()
}

impl SortColumn {
    fn new(batches: Vec<Vec<i64>>) -> Self {
        let lowest = batches.iter().flatten().min().copied().unwrap_or(0);
        let highest = batches.iter().flatten().max().copied().unwrap_or(0);
        Self { batches, lowest, bit_count: u64::BITS - highest.abs_diff(lowest).leading_zeros() }
    }

    /// How far a row's key is above the lowest.
    fn above(&self, (batch, row): RowIndex) -> u64 {
        self.batches[batch][row].abs_diff(self.lowest)
    }
}

/// The values of a column as numbers in the same order; that of NULL is the lowest.
fn ranks(columns: &[ArrayRef]) -> Result<Vec<Vec<i64>>, ArrowError> {
    let is_text =
        columns.first().is_some_and(|column| matches!(column.data_type(), DataType::Utf8 | DataType::Dictionary(..)));
    if !is_text {
        // Instants, dates and integers are numbers already.
        let numbers = |column: &ArrayRef| {
            let numbers = cast(column, &DataType::Int64)?;
            Ok(numbers.as_primitive::<Int64Type>().iter().map(|number| number.unwrap_or(i64::MIN)).collect())
        };
        return columns.iter().map(numbers).collect();
    }
    let columns = columns.iter().map(encoded).collect::<Result<Vec<_>, _>>()?;
    let (_, codes) = codes(&columns);
    Ok(codes.iter().map(|codes| (0..codes.keys.len()).map(|row| codes.of(row).into()).collect()).collect())
}

/// A column of text with its distinct values apart.
fn encoded(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    cast(column, &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)))
}

fn values(column: &ArrayRef) -> &StringArray {
    column.as_dictionary::<Int32Type>().values().as_string()
}

/// The distinct values of all columns in their order, used or not, and the codes of each column among them.
fn codes(columns: &[ArrayRef]) -> (StringArray, Vec<Codes>) {
    let texts: BTreeSet<&str> = columns.iter().flat_map(|column| values(column).iter().flatten()).collect();
    let ranks: BTreeMap<&str, i32> = texts.iter().copied().zip(0..).collect();
    let rank = |text: Option<&str>| text.and_then(|text| ranks.get(text).copied()).unwrap_or(NULL_CODE);
    let codes = columns.iter().map(|column| Codes {
        keys: column.as_dictionary::<Int32Type>().keys().clone(),
        ranks: values(column).iter().map(rank).collect(),
    });
    let codes = codes.collect();
    (texts.into_iter().map(Some).collect(), codes)
}

/// Columns of the same name and type of several batches.
pub(crate) enum Parts {
    /// Dictionary-encoded text: the distinct values of all batches in their order, used or not, and the codes of each
    /// batch.
    Labels {
        values: Arc<StringArray>,
        codes: Vec<Codes>,
        has_nulls: bool,
    },
    Plain(Vec<ArrayRef>),
}

/// Stands for NULL among codes.
pub(crate) const NULL_CODE: i32 = -1;

/// The codes of a column's rows among the values of all.
pub(crate) struct Codes {
    /// The column's own codes.
    keys: PrimitiveArray<Int32Type>,
    /// What each of them is among all values.
    ranks: Vec<i32>,
}

impl Codes {
    /// The code of a row; [`NULL_CODE`] for NULL.
    #[inline]
    pub(crate) fn of(&self, row: usize) -> i32 {
        if self.keys.is_null(row) {
            return NULL_CODE;
        }
        usize::try_from(self.keys.values()[row]).map_or(NULL_CODE, |code| self.ranks[code])
    }
}

impl Parts {
    pub(crate) fn new(columns: Vec<ArrayRef>) -> Self {
        let is_label = |column: &ArrayRef| {
            column.as_dictionary_opt::<Int32Type>().is_some_and(|it| it.values().data_type() == &DataType::Utf8)
        };
        if !columns.iter().all(is_label) {
            return Self::Plain(columns);
        }
        let (values, codes) = codes(&columns);
        let has_nulls = columns.iter().any(|column| column.logical_null_count() > 0);
        Self::Labels { values: Arc::new(values), codes, has_nulls }
    }

    /// How many bytes the rows take, about.
    pub(crate) fn byte_count(&self) -> usize {
        match self {
            Self::Labels { codes, .. } => codes.iter().map(|codes| size_of_val(codes.keys.values().as_ref())).sum(),
            Self::Plain(columns) => columns.iter().map(|column| column.get_array_memory_size()).sum(),
        }
    }

    /// The values of those rows.
    pub(crate) fn gather(&self, rows: &[RowIndex]) -> Result<ArrayRef, ArrowError> {
        match self {
            // Arrow would copy them row by row.
            Self::Plain(columns) if columns.iter().all(|column| column.data_type() == &DataType::Boolean) => {
                let columns: Vec<&BooleanArray> = columns.iter().map(|column| column.as_boolean()).collect();
                let value =
                    |(batch, row): &RowIndex| columns[*batch].is_valid(*row).then(|| columns[*batch].value(*row));
                Ok(Arc::new(rows.iter().map(value).collect::<BooleanArray>()))
            }
            Self::Plain(columns) => {
                let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
                interleave(&columns, rows)
            }
            Self::Labels { values, codes, has_nulls } => {
                let mut gathered: Vec<i32> = rows.iter().map(|(batch, row)| codes[*batch].of(*row)).collect();
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

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    /// Sorts the rows of two batches by a text and a number, and compares with sorting the values themselves.
    #[track_caller]
    fn check(rows: &[(Option<&str>, Option<i64>)]) {
        let (first, second) = rows.split_at(rows.len() / 2);
        let batch = |rows: &[(Option<&str>, Option<i64>)]| {
            let texts: StringArray = rows.iter().map(|row| row.0).collect();
            let numbers: Int64Array = rows.iter().map(|row| row.1).collect();
            RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef), ("number", Arc::new(numbers))]).unwrap()
        };
        let batches = [batch(first), batch(second)];
        let places = |batch: usize, count: usize| (0..count).map(move |row| (batch, row));
        let unsorted: Vec<RowIndex> = places(0, first.len()).chain(places(1, second.len())).collect();
        let mut expected = unsorted.clone();
        expected.sort_by_key(|(batch, row)| rows[batch * first.len() + row]);
        // The number once more changes no order, and makes keys that are far apart too long to be one number.
        for names in [&["text", "number"][..], &["text", "number", "number"]] {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut sorted = unsorted.clone();
            SortKeys::of(&batches, &names).unwrap().sort(&mut sorted);
            assert_eq!(sorted, expected);
        }
    }

    #[test]
    fn rows_are_sorted_by_their_values_and_then_as_they_came() {
        let texts = ["b", "a", "c", "aa"];
        let rows: Vec<_> =
            (0..200_usize).map(|row| (Some(texts[row * 7 % 4]), Some(row as i64 * 37 % 11 - 5))).collect();
        check(&rows);
        check(&[]);
    }

    #[test]
    fn nulls_come_first_and_keys_may_be_far_apart() {
        let texts = [Some("b"), None, Some("a")];
        let numbers = [Some(i64::MAX), None, Some(0), Some(-1), Some(i64::MIN + 1)];
        let rows: Vec<_> = (0..60_usize).map(|row| (texts[row % 3], numbers[row * 7 % 5])).collect();
        check(&rows);
        let without_far: Vec<_> = rows.iter().map(|row| (row.0, Some(1))).collect();
        check(&without_far);
    }

    #[test]
    fn booleans_are_gathered_with_their_nulls() {
        let first: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None]));
        let second: ArrayRef = Arc::new(BooleanArray::from(vec![false]));
        let gathered = Parts::new(vec![first, second]).gather(&[(1, 0), (0, 1), (0, 0), (0, 1)]).unwrap();
        assert_eq!(*gathered.as_boolean(), BooleanArray::from(vec![Some(false), None, Some(true), None]));
    }
}
