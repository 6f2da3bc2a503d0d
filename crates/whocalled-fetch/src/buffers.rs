//! Read buffers that are used again, so that reading a file costs no fresh pages.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// How many idle buffers are kept; each is at most twice as long as the longest read.
const IDLE_BUFFERS_MAX: usize = 8;

/// The idle buffers.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// Bytes of that length as `fill` leaves them. Their buffer comes back once they are dropped.
    ///
    /// # Errors
    /// Those of `fill`.
    pub(crate) fn filled<E>(
        self: &Arc<Self>,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // One that is too short is let go: to lengthen it would copy what nobody wants any more. Lengths are powers of
        // two, so that files of nearly the same length are not each a little too long.
        let long_enough = idle.filter(|buffer| buffer.len() >= length);
        let buffer = long_enough.unwrap_or_else(|| vec![0; length.checked_next_power_of_two().unwrap_or(length)]);
        let mut lent = Lent { buffer, length, home: Arc::clone(self) };
        fill(&mut lent.buffer[..length])?;
        Ok(Bytes::from_owner(lent))
    }
}

/// A buffer in use.
struct Lent {
    buffer: Vec<u8>,
    length: usize,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut idle = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_BUFFERS_MAX {
            idle.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_and_shows_nothing_of_its_earlier_use() {
        let buffers = Arc::new(Buffers::default());
        let read = |text: &'static [u8]| {
            buffers.filled(text.len(), |bytes| {
                bytes.copy_from_slice(text);
                Ok::<_, ()>(())
            })
        };
        let first = read(b"a long text").expect("copying cannot fail");
        let place = first.as_ptr();
        drop(first);
        let second = read(b"short").expect("copying cannot fail");
        assert_eq!((second.as_ptr(), &second[..]), (place, &b"short"[..]));
        assert_eq!(&read(b"beside").expect("copying cannot fail")[..], b"beside");
    }
}
