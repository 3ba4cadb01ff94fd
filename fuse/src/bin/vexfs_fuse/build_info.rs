// SPDX-License-Identifier: Apache-2.0
//! What this binary is. One text, in a section of its own, is both what a verifier reads from the file and what
//! `--version --verbose` reports, so that the two cannot differ.

const NAME: &str = "vexfs_fuse";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Cargo features that the compiler saw, and what is always in.
const FEATURES: &[&str] = &[
    #[cfg(feature = "fuse_support")]
    "fuse_support",
    "vector",
];

/// The text of [`MARK`]: a line `vexfs_fuse <version>`, then one line a feature.
const TEXT: &[&str] = &[NAME, " ", VERSION, "\n"];

const fn mark_len() -> usize {
    let mut len = 0;
    let mut i = 0;
    while i < TEXT.len() {
        len += TEXT[i].len();
        i += 1;
    }
    i = 0;
    while i < FEATURES.len() {
        len += FEATURES[i].len() + 1;
        i += 1;
    }
    len
}

const fn append(out: &mut [u8], mut at: usize, text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        out[at] = bytes[i];
        at += 1;
        i += 1;
    }
    at
}

const fn mark() -> [u8; mark_len()] {
    let mut out = [0; mark_len()];
    let mut at = 0;
    let mut i = 0;
    while i < TEXT.len() {
        at = append(&mut out, at, TEXT[i]);
        i += 1;
    }
    i = 0;
    while i < FEATURES.len() {
        at = append(&mut out, at, FEATURES[i]);
        at = append(&mut out, at, "\n");
        i += 1;
    }
    out
}

/// Readable without running the binary: `readelf -p .vexfs.features vexfs_fuse`.
#[used]
#[allow(unsafe_code)] // Naming a section is "unsafe" because a wrong one could be executed; this one is only data.
#[unsafe(link_section = ".vexfs.features")]
static MARK: [u8; mark_len()] = mark();

/// Build facts as one line of JSON: name, version, commit, features.
pub(crate) fn json() -> String {
    // black_box keeps a reference to the section itself, without which the linker may drop it.
    let mark = std::hint::black_box(&MARK);
    let text = String::from_utf8_lossy(mark);
    let mut lines = text.lines();
    let (name, version) = lines
        .next()
        .and_then(|line| line.split_once(' '))
        .unwrap_or_default();
    serde_json::json!({
        "name": name,
        "version": version,
        "commit": option_env!("VEXCI_COMMIT").unwrap_or("unknown"),
        "features": lines.collect::<Vec<_>>(),
    })
    .to_string()
}
