// SPDX-License-Identifier: Apache-2.0
//! The journal.

use crate::image::Image;
use serde_json::{Value, json};
use vexfs::disk::Result;
use vexfs::disk::journal::{Place, revoke_records, scan};

/// Superblock, and the transactions that count with their tags and revokes.
pub(crate) fn journal(image: &Image) -> Result<Value> {
    let place = Place::of(image.superblock());
    let start = place.read_super(image.device())?;
    let log = scan(image.device(), &place, start)?;
    let mut transactions = Vec::new();
    for transaction in &log.transactions {
        let mut revokes = Vec::new();
        for &position in &transaction.revokes {
            revokes.extend(revoke_records(
                &image.block(place.start + u64::from(position))?,
            ));
        }
        let tags = transaction.tags.iter().map(|tag| {
            let checksum = format!("{:08x}", tag.checksum);
            json!({ "block": tag.block, "position": tag.position, "flags": tag.flags, "checksum": checksum })
        });
        transactions.push(json!({
            "sequence": transaction.sequence, "start": transaction.start, "commit": transaction.commit,
            "tags": tags.collect::<Vec<_>>(), "revokes": revokes,
        }));
    }
    Ok(json!({
        "s_maxlen": start.maxlen, "s_sequence": start.sequence, "s_start": start.start,
        "s_errno": start.errno, "transactions": transactions,
    }))
}
