// SPDX-License-Identifier: Apache-2.0
//! Sparse content of a file: the pages that were written, and nothing for those that were not.

use std::collections::BTreeMap;

/// Bytes in a page, the unit in which content is stored and counted.
pub const PAGE_SIZE: usize = 4096;
const PAGE: u64 = PAGE_SIZE as u64;

/// Bytes addressed from 0 to `size`; those of absent pages read as zero.
#[derive(Debug, Default)]
pub(crate) struct PageMap {
    size: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE_SIZE]>>,
}

/// Splits `offset..offset + len` at page borders: (page number, first byte in the page, first byte in the range, length).
fn spans(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % PAGE) as usize;
        let take = (PAGE_SIZE - within).min(len - done);
        let span = (at / PAGE, within, done, take);
        done += take;
        Some(span)
    })
}

impl PageMap {
    /// Length in bytes, holes included.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Number of pages held.
    pub(crate) fn held(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Up to `len` bytes from `offset`; fewer at the end of the file, none behind it.
    pub(crate) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let rest = self.size.saturating_sub(offset);
        let len = usize::try_from(rest).map_or(len, |rest| rest.min(len));
        let mut out = vec![0; len];
        for (page, within, at, take) in spans(offset, len) {
            if let Some(bytes) = self.pages.get(&page) {
                out[at..at + take].copy_from_slice(&bytes[within..within + take]);
            }
        }
        out
    }

    /// Writes `data` at `offset`, taking new pages from `free`; returns how many bytes found room.
    /// `offset + data.len()` must not overflow.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8], free: &mut u64) -> usize {
        let mut done = 0;
        for (page, within, at, take) in spans(offset, data.len()) {
            let bytes = match self.pages.get_mut(&page) {
                Some(bytes) => bytes,
                None if *free == 0 => break,
                None => {
                    *free -= 1;
                    self.pages
                        .entry(page)
                        .or_insert_with(|| Box::new([0; PAGE_SIZE]))
                }
            };
            bytes[within..within + take].copy_from_slice(&data[at..at + take]);
            done = at + take;
        }
        if done > 0 {
            self.size = self.size.max(offset + done as u64);
        }
        done
    }

    /// Sets the length; what is cut off reads as zero if the file grows again. Returns the number of pages let go.
    pub(crate) fn resize(&mut self, size: u64) -> u64 {
        let before = self.held();
        if size < self.size {
            drop(self.pages.split_off(&size.div_ceil(PAGE)));
            let tail = (size % PAGE) as usize;
            if tail > 0
                && let Some(last) = self.pages.get_mut(&(size / PAGE))
            {
                last[tail..].fill(0);
            }
        }
        self.size = size;
        before - self.held()
    }

    /// First offset at or after `offset` that is stored; `None` if only holes follow.
    pub(crate) fn next_data(&self, offset: u64) -> Option<u64> {
        let (page, _) = self.pages.range(offset / PAGE..).next()?;
        Some((page * PAGE).max(offset)).filter(|found| *found < self.size)
    }

    /// First offset at or after `offset` that is not stored, the end of the file included; `None` behind the end.
    pub(crate) fn next_hole(&self, offset: u64) -> Option<u64> {
        if offset >= self.size {
            return None;
        }
        let mut page = offset / PAGE;
        for (held, _) in self.pages.range(page..) {
            if *held != page {
                break;
            }
            page += 1;
        }
        Some((page * PAGE).max(offset).min(self.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_across_a_page_border_reads_back() {
        let (mut map, mut free) = (PageMap::default(), 10);
        assert_eq!(map.write(PAGE - 3, b"abcdef", &mut free), 6);
        assert_eq!((map.size(), map.held(), free), (PAGE + 3, 2, 8));
        assert_eq!(map.read(PAGE - 4, 100), b"\0abcdef");
    }

    #[test]
    fn a_hole_holds_nothing_and_reads_as_zero() {
        let (mut map, mut free) = (PageMap::default(), 10);
        map.write(100 * PAGE, b"x", &mut free);
        assert_eq!(map.held(), 1);
        assert_eq!(map.read(7, 5), [0; 5]);
        assert_eq!(map.next_data(7), Some(100 * PAGE));
        assert_eq!(map.next_hole(7), Some(7));
        assert_eq!(map.next_hole(100 * PAGE), Some(100 * PAGE + 1));
        assert_eq!(map.next_data(100 * PAGE + 1), None);
    }

    #[test]
    fn cut_bytes_do_not_come_back() {
        let (mut map, mut free) = (PageMap::default(), 10);
        map.write(0, &[7; 3 * PAGE_SIZE], &mut free);
        assert_eq!(map.resize(10), 2);
        assert_eq!(map.resize(2 * PAGE), 0);
        assert_eq!(map.read(0, 12), [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0]);
        assert_eq!(map.resize(0), 1);
    }

    #[test]
    fn a_write_stops_where_room_ends() {
        let (mut map, mut free) = (PageMap::default(), 1);
        assert_eq!(
            map.write(10, &[1; 2 * PAGE_SIZE], &mut free),
            PAGE_SIZE - 10
        );
        assert_eq!(map.size(), PAGE);
        assert_eq!(map.write(PAGE, b"x", &mut free), 0);
        assert_eq!(map.write(0, b"over", &mut free), 4);
        assert_eq!(map.size(), PAGE);
    }
}
