//! What is done to every value of every record: short texts compared, ended and read as numbers, several bytes at a
//! time and in place, since a call would take longer than the work.

/// Whether two short texts are equal.
#[inline]
pub(crate) fn are_equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (mut one, mut other) = (one, other);
    while one.len() > 32 {
        let ((head, rest), (other_head, other_rest)) = (one.split_at(16), other.split_at(16));
        if head != other_head {
            return false;
        }
        (one, other) = (rest, other_rest);
    }
    same_ends::<16>(one, other)
        .or_else(|| same_ends::<8>(one, other))
        .or_else(|| same_ends::<4>(one, other))
        .unwrap_or_else(|| one.iter().zip(other).all(|(one, other)| one == other))
}

/// Whether the first and the last `N` bytes are the same; `None` of fewer. Of at most twice as many that is all of them.
#[inline]
fn same_ends<const N: usize>(one: &[u8], other: &[u8]) -> Option<bool> {
    Some(one.first_chunk::<N>()? == other.first_chunk()? && one.last_chunk::<N>()? == other.last_chunk()?)
}

/// The number that eight digits say; `None` where any byte is no digit.
#[inline]
pub(crate) fn eight_digits(digits: [u8; 8]) -> Option<i64> {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(digits);
    let values = word.wrapping_sub(u64::from_ne_bytes([b'0'; 8]));
    // A byte below `0` borrows, one above `9` gets its high bit from what is added, and one beyond ASCII has it.
    if (word.wrapping_add(u64::from_ne_bytes([0x7F - b'9'; 8])) | values) & HIGH_BITS != 0 {
        return None;
    }
    // Neighbours become pairs, pairs fours, and fours the whole; the first digit is the lowest byte.
    let pairs = (values.wrapping_mul(10 << 8 | 1) >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_FFFF_0000_FFFF;
    i64::try_from(fours.wrapping_mul(10_000 << 32 | 1) >> 32).ok()
}

/// How long the text is that a quote or a backslash ends. `memchr2` would spend longer on choosing an implementation
/// than on the search; this one every x86-64 has, and the compiler puts it in place.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn text_length(bytes: &[u8]) -> Option<usize> {
    memchr::arch::x86_64::sse2::memchr::Two::new(b'"', b'\\')?.find(bytes)
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn text_length(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'"', b'\\', bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_differ_by_any_byte() {
        for length in 0..100 {
            let text: Vec<u8> = (0..length).collect();
            assert!(are_equal(&text, &text.clone()));
            for at in 0..text.len() {
                let mut other = text.clone();
                other[at] ^= 0x40;
                assert!(!are_equal(&text, &other), "{at} of {length}");
                assert!(!are_equal(&text, &text[..at]), "{at} of {length}");
            }
        }
    }

    #[test]
    fn eight_digits_are_a_number() {
        for (digits, number) in [(b"00000000", 0), (b"12345678", 12_345_678), (b"99999999", 99_999_999)] {
            assert_eq!(eight_digits(*digits), Some(number));
        }
    }

    #[test]
    fn eight_bytes_of_which_any_is_no_digit_are_none() {
        for at in 0..8 {
            for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
                for digit in [b'0', b'9'] {
                    let mut digits = [digit; 8];
                    digits[at] = byte;
                    assert_eq!(eight_digits(digits), None, "{byte} at {at}");
                }
            }
        }
    }
}
