//! A builder of dictionary-encoded text for columns that hold few values.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, DictionaryArray, PrimitiveArray, StringArray, StringBuilder};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;

use crate::block::room;

/// How many values are found without hashing them whole; a power of two.
const RECENT: usize = 256;
/// The code of NULL while building.
pub(crate) const NULL: i32 = -1;

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
        let code = text.map_or(NULL, |text| self.code(text));
        self.append_code(code);
    }

    /// Appends texts in the form that `canonical` writes, which it leaves as it is.
    pub(crate) fn append_canonical<'t>(
        &mut self,
        texts: impl Iterator<Item = Option<&'t str>>,
        canonical: fn(&str, &mut String),
    ) {
        let mut form = String::new();
        for text in texts {
            let Some(text) = text else {
                self.append_option(None);
                continue;
            };
            // A value of the column is canonical, so a text that equals one is as well.
            let recent = self.recent[place(text.as_bytes())];
            if self.is(recent, text) {
                self.codes.push(recent);
            } else {
                form.clear();
                canonical(text, &mut form);
                self.append_option(Some(&form));
            }
        }
    }

    /// Appends a text, or NULL, so many times.
    pub(crate) fn append_repeated(&mut self, text: Option<&str>, count: usize) {
        let code = text.map_or(NULL, |text| self.code(text));
        self.null_count += if code == NULL { count } else { 0 };
        self.codes.resize(self.codes.len() + count, code);
    }

    /// Appends the text of a code that [`Self::code`] gave, or [`NULL`].
    pub(crate) fn append_code(&mut self, code: i32) {
        self.null_count += usize::from(code == NULL);
        self.codes.push(code);
    }

    /// The codes of the last rows.
    pub(crate) fn last_codes(&self, row_count: usize) -> &[i32] {
        &self.codes[self.codes.len() - row_count..]
    }

    /// The texts from that code on.
    pub(crate) fn texts_from(&self, code: usize) -> impl Iterator<Item = &str> {
        (code..self.ends.len()).map(|code| self.text(i32::try_from(code).unwrap_or(NULL)))
    }

    /// The code of a text, which need not be appended.
    pub(crate) fn code(&mut self, text: &str) -> i32 {
        let place = place(text.as_bytes());
        let recent = self.recent[place];
        if self.is(recent, text) {
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
        self.range(code).map_or("", |range| &self.texts[range])
    }

    /// Whether that is the code of a text.
    #[inline]
    fn is(&self, code: i32, text: &str) -> bool {
        self.range(code).is_some_and(|range| self.texts.as_bytes()[range] == *text.as_bytes())
    }

    /// Where the text of a code is; `None` for [`NULL`].
    #[inline]
    fn range(&self, code: i32) -> Option<Range<usize>> {
        let index = usize::try_from(code).ok()?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(start..self.ends[index])
    }

    /// The column; the builder begins anew.
    pub(crate) fn finish(&mut self) -> Result<DictionaryArray<Int32Type>, ArrowError> {
        let mut values = StringBuilder::with_capacity(self.ends.len(), self.texts.len());
        (0..self.ends.len()).for_each(|index| values.append_value(self.text(i32::try_from(index).unwrap_or(NULL))));
        let values: StringArray = values.finish();
        let nulls = (self.null_count > 0)
            .then(|| NullBuffer::new(BooleanBuffer::collect_bool(self.codes.len(), |row| self.codes[row] != NULL)));
        let mut codes = std::mem::take(&mut self.codes);
        if nulls.is_some() {
            codes.iter_mut().for_each(|code| *code = (*code).max(0));
        }
        *self = Self { codes: Vec::with_capacity(room(codes.len())), ..Self::new() };
        let keys = PrimitiveArray::try_new(ScalarBuffer::from(codes), nulls)?;
        // A column without any value still needs one for its codes to point at.
        let values = if values.is_empty() { StringArray::from(vec![""]) } else { values };
        DictionaryArray::try_new(keys, Arc::new(values))
    }
}

/// Where a value is remembered: by its length, its first eight and its last eight bytes.
#[inline]
fn place(text: &[u8]) -> usize {
    let (head, tail) = if let (Some(head), Some(tail)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (u64::from_le_bytes(*head), u64::from_le_bytes(*tail))
    } else if let (Some(head), Some(tail)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (u64::from(u32::from_le_bytes(*head)), u64::from(u32::from_le_bytes(*tail)))
    } else {
        (text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0)
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
