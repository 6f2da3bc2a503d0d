//! A builder of dictionary-encoded text for columns that hold few values.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, DictionaryArray, PrimitiveArray, StringArray, StringBuilder};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;

/// How many values are found without hashing them whole; a power of two.
const RECENT: usize = 256;
/// The code of NULL while building.
const NULL: i32 = -1;

/// Collects the values of a column as codes into the list of its distinct values.
///
/// Arrow's own builder hashes every value from end to end. Here the value that was last seen with the
/// same length, beginning and end is compared first, and is nearly always the one.
pub(crate) struct LabelBuilder {
    codes: Vec<i32>,
    null_count: usize,
    /// The distinct values in the order of their codes: their texts, and where each ends.
    texts: String,
    ends: Vec<usize>,
    by_text: HashMap<Box<str>, i32>,
    recent: Box<[i32; RECENT]>,
}

impl LabelBuilder {
    pub(crate) fn new() -> Self {
        Self {
            codes: Vec::new(),
            null_count: 0,
            texts: String::new(),
            ends: Vec::new(),
            by_text: HashMap::new(),
            recent: Box::new([NULL; RECENT]),
        }
    }

    pub(crate) fn append_option(&mut self, text: Option<&str>) {
        let code = match text {
            Some(text) => self.code(text),
            None => {
                self.null_count += 1;
                NULL
            }
        };
        self.codes.push(code);
    }

    fn code(&mut self, text: &str) -> i32 {
        let place = place(text.as_bytes());
        let recent = self.recent[place];
        if recent != NULL && self.text(recent) == text {
            return recent;
        }
        let code = match self.by_text.get(text) {
            Some(code) => *code,
            None => {
                // A batch has far fewer rows than there are codes.
                let code = i32::try_from(self.ends.len()).unwrap_or(i32::MAX);
                self.texts.push_str(text);
                self.ends.push(self.texts.len());
                self.by_text.insert(text.into(), code);
                code
            }
        };
        self.recent[place] = code;
        code
    }

    fn text(&self, code: i32) -> &str {
        let index = usize::try_from(code).unwrap_or(usize::MAX);
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.texts[start..self.ends[index]]
    }

    /// The column; the builder begins anew.
    pub(crate) fn finish(&mut self) -> Result<DictionaryArray<Int32Type>, ArrowError> {
        let mut values = StringBuilder::with_capacity(self.ends.len(), self.texts.len());
        (0..self.ends.len()).for_each(|index| values.append_value(self.text(i32::try_from(index).unwrap_or(NULL))));
        let values: StringArray = values.finish();
        let nulls = (self.null_count > 0).then(|| NullBuffer::from_iter(self.codes.iter().map(|code| *code != NULL)));
        let mut codes = std::mem::take(&mut self.codes);
        if nulls.is_some() {
            codes.iter_mut().for_each(|code| *code = (*code).max(0));
        }
        *self = Self::new();
        let keys = PrimitiveArray::try_new(ScalarBuffer::from(codes), nulls)?;
        // A column without any value still needs one for its codes to point at.
        let values = if values.is_empty() { StringArray::from(vec![""]) } else { values };
        DictionaryArray::try_new(keys, Arc::new(values))
    }
}

/// Where a value is remembered: by its length, its first eight and its last eight bytes.
fn place(text: &[u8]) -> usize {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
    let (head, tail) = match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
        _ => (word(text), 0),
    };
    let mixed = (head ^ tail.rotate_left(29) ^ text.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    usize::from((mixed >> 48) as u16) & (RECENT - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_in_their_order_with_few_codes() {
        let mut builder = LabelBuilder::new();
        // Values that share length, beginning and end fall on the same place.
        let texts = [Some("aaaaaaaa1bbbbbbbb"), None, Some("aaaaaaaa2bbbbbbbb"), Some(""), Some("é")];
        for index in 0..1000 {
            builder.append_option(texts[index % texts.len()]);
        }
        let array = builder.finish().expect("codes are within the values");
        assert_eq!(array.values().len(), 4);
        let typed = array.downcast_dict::<StringArray>().expect("text");
        assert!(typed.into_iter().enumerate().all(|(index, text)| text == texts[index % texts.len()]));
        assert_eq!(builder.finish().expect("empty").len(), 0);
    }

    #[test]
    fn a_column_of_nulls_is_one() {
        let mut builder = LabelBuilder::new();
        builder.append_option(None);
        assert_eq!(builder.finish().expect("no code is used").null_count(), 1);
    }
}
