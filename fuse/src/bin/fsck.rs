// SPDX-License-Identifier: Apache-2.0
//! `fsck.vexfs`: checks a volume, and repairs it with `-y` (docs/format.md, section 15).

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser};
use vexfs::disk::fsck::{self, Report};
use vexfs::disk::{Access, FileDevice, Result};

/// Nothing is wrong.
const CLEAN: u8 = 0;
/// Something was, and is repaired.
const REPAIRED: u8 = 1;
/// Something still is.
const UNCORRECTED: u8 = 4;
/// The check could not be done.
const OPERATIONAL: u8 = 8;
/// The command line is wrong.
const USAGE: u8 = 16;

/// Check a VexFS volume. Without an option it is only checked, as with -n.
#[derive(Debug, Parser)]
#[command(
    name = "fsck.vexfs",
    version,
    after_help = "Exit codes: 0 clean, 1 repaired, 4 errors left, 8 could not check, 16 wrong command line."
)]
struct Arguments {
    /// Change nothing: a log is replayed in memory
    #[arg(short = 'n', conflicts_with = "yes")]
    no: bool,
    /// Replay the log, clean orphans, and repair what is wrong. -p and -a, as fsck(8) passes them at boot, are the same
    #[arg(short = 'y', short_aliases = ['p', 'a'])]
    yes: bool,
    /// Accepted for fsck(8): every check is a full one
    #[arg(short = 'f')]
    force: bool,
    /// A block device or a file
    device: PathBuf,
}

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1);
    if let Some(code) = vexfs::completions::asked(&Arguments::command(), words) {
        return code;
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(stop) => {
            // Printing fails only if nobody listens any more.
            let _ = stop.print();
            return ExitCode::from(if stop.use_stderr() { USAGE } else { CLEAN });
        }
    };
    match run(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("fsck.vexfs: {}: {error}", arguments.device.display());
            ExitCode::from(OPERATIONAL)
        }
    }
}

fn run(arguments: &Arguments) -> Result<u8> {
    let access = match arguments.yes {
        true => Access::ReadWrite,
        false => Access::ReadOnly,
    };
    let device = Arc::new(FileDevice::open(&arguments.device, access)?);
    if !arguments.yes {
        let report = fsck::check(device)?;
        show(&report);
        if report.pending > 0 {
            println!(
                "orphan-pending: {} inodes wait for the next mount",
                report.pending
            );
        }
        if report.is_clean() {
            println!("clean");
            return Ok(CLEAN);
        }
        println!(
            "{} errors were found; -y repairs them",
            report.findings.len()
        );
        return Ok(UNCORRECTED);
    }
    let (first, last) = fsck::repair(device, &|line| println!("{line}"))?;
    show(&first);
    if !last.is_clean() {
        println!("{} errors are left:", last.findings.len());
        show(&last);
        return Ok(UNCORRECTED);
    }
    let changed = !first.is_clean() || first.pending > 0;
    println!("{}", if changed { "repaired" } else { "clean" });
    Ok(if changed { REPAIRED } else { CLEAN })
}

fn show(report: &Report) {
    if report.replayed > 0 {
        println!("{} transactions were replayed", report.replayed);
    }
    for finding in &report.findings {
        println!("{finding}");
    }
}
