// SPDX-License-Identifier: Apache-2.0
//! SipHash-2-4 and the hash of a name (section 8).

use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// Least hash of a name.
pub const HASH_MIN: u64 = 8;
/// Greatest hash of a name.
pub const HASH_MAX: u64 = 0x7fff_ffff_ffff_ffe0;

/// SipHash-2-4 of `data`.
#[must_use]
pub fn siphash24(key: &[u8; 16], data: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(data);
    hasher.finish()
}

/// The hash of a name: the directory key of its record, but for the low three bits.
#[must_use]
pub fn dir_hash(key: &[u8; 16], name: &[u8]) -> u64 {
    (siphash24(key, name) & 0x7fff_ffff_ffff_fff8).clamp(HASH_MIN, HASH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_test_values_come_out() {
        let key: [u8; 16] = std::array::from_fn(|i| i as u8);
        let message: [u8; 15] = std::array::from_fn(|i| i as u8);
        assert_eq!(siphash24(&key, &message), 0xa129_ca61_49be_45e5);
        assert_eq!(dir_hash(&key, b"a"), 0x2ba3_e8e9_a711_48c8);
        assert_eq!(dir_hash(&key, b"hello.txt"), 0x57f8_1791_8228_2da0);
        assert_eq!(dir_hash(&key, &[b'x'; 255]), 0x704f_2551_b6ad_4f48);
    }
}
