// SPDX-License-Identifier: Apache-2.0
//! What this build takes `kernel/include/uapi/vexfs.h` to be.

use serde_json::{Map, Value, json};
use vexfs::uapi;

/// Sizes and offsets of structures, and constants, by the header's names.
pub(crate) fn show() -> Value {
    let structures: Map<String, Value> = uapi::layouts()
        .into_iter()
        .map(|(name, size, fields)| {
            let offsets: Map<String, Value> = fields
                .into_iter()
                .map(|(field, offset)| (field.to_owned(), offset.into()))
                .collect();
            (name.to_owned(), json!({ "size": size, "offsets": offsets }))
        })
        .collect();
    let constants: Map<String, Value> = uapi::constants()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({ "structures": structures, "constants": constants })
}
