//! Read buffers that are used again, so that a read costs no fresh pages.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// How many idle buffers are kept, about as many as reads run at the same time; each is at most twice as long as the
/// longest read.
const IDLE_BUFFERS_MAX: usize = 16;

/// The idle buffers.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// A buffer of that length, with anything in it.
    pub(crate) fn lend(self: &Arc<Self>, length: usize) -> Lent {
        let idle = {
            let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let long_enough = (0..idle.len()).filter(|index| idle[*index].len() >= length);
            let shortest = long_enough.min_by_key(|index| idle[*index].len());
            shortest.map(|index| idle.swap_remove(index))
        };
        // Lengths are powers of two, so that reads of nearly the same length share buffers.
        let new_length = length.checked_next_power_of_two().unwrap_or(length);
        let buffer = idle.unwrap_or_else(|| vec![0; new_length]);
        Lent { buffer, length, home: Arc::clone(self) }
    }
}

/// A buffer in use. It comes back once it is dropped, or the bytes that were made of it are.
pub(crate) struct Lent {
    buffer: Vec<u8>,
    length: usize,
    home: Arc<Buffers>,
}

impl Lent {
    /// Its bytes, for good.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsMut<[u8]> for Lent {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.length]
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut idle = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(std::mem::take(&mut self.buffer));
        if idle.len() > IDLE_BUFFERS_MAX
            && let Some(shortest) = (0..idle.len()).min_by_key(|index| idle[*index].len())
        {
            idle.swap_remove(shortest);
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
            let mut lent = buffers.lend(text.len());
            lent.as_mut().copy_from_slice(text);
            lent.freeze()
        };
        let first = read(b"a long text");
        let place = first.as_ptr();
        drop(first);
        let second = read(b"short");
        assert_eq!((second.as_ptr(), &second[..]), (place, &b"short"[..]));
        assert_eq!(&read(b"beside")[..], b"beside");
    }

    #[test]
    fn the_shortest_that_is_long_enough_is_lent_and_the_longest_are_kept() {
        let buffers = Arc::new(Buffers::default());
        let lent: Vec<Lent> = [5000, 10, 300].map(|length| buffers.lend(length)).into();
        let places: Vec<_> = lent.iter().map(|it| it.buffer.as_ptr()).collect();
        drop(lent);
        for (length, place) in [(11, places[1]), (100, places[2]), (600, places[0])] {
            assert_eq!(buffers.lend(length).buffer.as_ptr(), place, "{length}");
        }
        let many: Vec<Lent> = (0..IDLE_BUFFERS_MAX).map(|_| buffers.lend(6000)).collect();
        drop(many);
        let idle = buffers.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!((idle.len(), idle.iter().map(Vec::len).min()), (IDLE_BUFFERS_MAX, Some(8192)));
    }
}
