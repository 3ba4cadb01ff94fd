// SPDX-License-Identifier: Apache-2.0
//! The same mutated images that `cargo test` uses, for the test of the kernel module.
//!
//! `mutate_vexfs bases FOLDER` writes the volumes that mutations start from. `mutate_vexfs patches FIRST COUNT` prints
//! a line of JSON a seed: `{"seed": 3, "base": "dirty-16m", "patches": [[offset, "hex"], ...]}`.

#[path = "../tests/images/mod.rs"]
mod images;
#[path = "../tests/mutations/mod.rs"]
mod mutate;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use mutate::Base;
use serde_json::json;
use vexfs::disk::{BLOCK_SIZE, BlockDevice};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["bases", folder] => bases(Path::new(folder)),
        ["patches", first, count] => match (first.parse(), count.parse()) {
            (Ok(first), Ok(count)) => patches(first, count),
            _ => Err(io::Error::other("FIRST and COUNT are numbers")),
        },
        _ => Err(io::Error::other(
            "usage: mutate_vexfs bases FOLDER | patches FIRST COUNT",
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mutate_vexfs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bases(folder: &Path) -> io::Result<()> {
    for name in images::BASES {
        let device = images::build(name);
        let file = std::fs::File::create(folder.join(format!("{name}.img")))?;
        file.set_len(device.blocks() * BLOCK_SIZE as u64)?;
        let mut block = vec![0; BLOCK_SIZE];
        for at in 0..device.blocks() {
            device.read_blocks(at, &mut block)?;
            if block.iter().any(|&b| b != 0) {
                std::os::unix::fs::FileExt::write_all_at(&file, &block, at * BLOCK_SIZE as u64)?;
            }
        }
    }
    Ok(())
}

fn patches(first: u64, count: u64) -> io::Result<()> {
    let bases = images::BASES.map(|name| (name, Base::new(&images::build(name))));
    let mut out = io::BufWriter::new(io::stdout().lock());
    for seed in first..first.saturating_add(count) {
        let (name, base) = &bases[seed as usize % bases.len()];
        let patches: Vec<_> = base
            .patches(seed)
            .iter()
            .map(|patch| json!([patch.offset, hex(&patch.bytes)]))
            .collect();
        let line = json!({ "seed": seed, "base": name, "patches": patches });
        writeln!(out, "{line}")?;
    }
    out.flush()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
