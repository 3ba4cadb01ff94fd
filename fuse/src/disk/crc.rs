// SPDX-License-Identifier: Apache-2.0
//! crc32c as the kernel's `crc32c(crc, data, len)` computes it: no inversion before or after.

/// Continue the checksum `seed` over `data`.
#[must_use]
pub fn raw(seed: u32, data: &[u8]) -> u32 {
    // The crate inverts before and after; inverting both once more leaves the raw register.
    !crc32c::crc32c_append(!seed, data)
}

/// The checksum of `data` with the four bytes at `at` taken as 0. `at + 4` must not exceed its length.
#[must_use]
pub fn raw_without(seed: u32, data: &[u8], at: usize) -> u32 {
    let (before, rest) = data.split_at(at);
    raw(raw(raw(seed, before), &[0; 4]), &rest[4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_test_values_come_out() {
        assert_eq!(raw(u32::MAX, b"123456789"), 0x1cf9_6d7c);
        let uuid: Vec<u8> = (0x10..0x20).collect();
        assert_eq!(raw(u32::MAX, &uuid), 0x58f0_a594);
    }

    #[test]
    fn the_left_out_field_counts_as_zero() {
        let data = *b"abcdXXXXefgh";
        assert_eq!(
            raw_without(7, &data, 4),
            raw(7, b"abcd\0\0\0\0efgh"),
            "the checksum's own bytes must not matter"
        );
    }
}
