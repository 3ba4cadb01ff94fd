// SPDX-License-Identifier: Apache-2.0
//! What this build takes the headers of `kernel/` to be, as `./inv verify` reads it (docs/manifest.md, layouts).

use serde_json::{Map, Value, json};
use vexfs::disk::layouts::Layout;
use vexfs::{disk, uapi};

/// Which header.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Header {
    /// `kernel/include/uapi/vexfs.h`: the interface to programs.
    Uapi,
    /// `kernel/vexfs_format.h`: the format on disk.
    Format,
}

/// Its structures and numbers, by its names.
pub(crate) fn show(header: Header) -> Value {
    let (structures, numbers) = match header {
        Header::Uapi => (uapi::layouts(), uapi::constants()),
        Header::Format => (disk::layouts::layouts(), disk::layouts::constants()),
    };
    let structs: Map<String, Value> = structures
        .into_iter()
        .map(|each| (each.name.to_owned(), structure(&each)))
        .collect();
    let constants: Map<String, Value> = numbers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({ "structs": structs, "constants": constants })
}

fn structure(each: &Layout) -> Value {
    let fields: Map<String, Value> = each
        .fields
        .iter()
        .map(|field| {
            let mut row = json!({ "offset": field.offset, "size": field.size });
            if !field.order.is_empty() {
                row["order"] = field.order.into();
            }
            (field.name.to_owned(), row)
        })
        .collect();
    json!({ "size": each.size, "fields": fields })
}
