// SPDX-License-Identifier: Apache-2.0
//! `vexfs_fuse`: mounts a VexFS volume, on an image or device or in this process's memory.
//!
//! Exit codes: 0 done, 1 something failed, 2 the command line is wrong.

#![deny(unsafe_code)]

mod build_info;
mod cli;
mod detach;
mod mount_options;
mod mountpoint;
mod serve;
mod shutdown;
mod source;

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::cli::Cli;
use crate::mount_options::MountOptions;

/// One sentence for the person at the terminal.
type Failure = String;

fn main() -> ExitCode {
    if let Some(code) = vexfs::completions::asked(&Cli::command(), std::env::args_os().skip(1)) {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(stop) => return stopped(&stop),
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("vexfs_fuse: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Help, version or a usage error.
fn stopped(stop: &clap::Error) -> ExitCode {
    if stop.kind() == ErrorKind::DisplayVersion && std::env::args_os().any(|arg| arg == "--verbose")
    {
        println!("{}", build_info::json());
        return ExitCode::SUCCESS;
    }
    // Printing fails only if nobody listens any more.
    let _ = stop.print();
    ExitCode::from(u8::try_from(stop.exit_code()).unwrap_or(2))
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let options = MountOptions::last_wins(&cli.options);
    let mountpoint = mountpoint::check(&cli.mountpoint)?;
    let image = cli.image.as_deref();
    let log = cli.log.as_deref().map(open_log).transpose()?;

    if cli.detached {
        // Standard error is the log file or /dev/null already.
        init_logging(cli.debug, None);
        return detach::as_child(|ready| serve::run(&mountpoint, &options, image, ready));
    }
    if cli.foreground {
        init_logging(cli.debug, log);
        return serve::run(&mountpoint, &options, image, || Ok(()));
    }
    if cli.debug && log.is_none() {
        eprintln!("vexfs_fuse: note: -d without -f or --log logs to nowhere");
    }
    detach::as_parent(cli, &mountpoint, log)
}

fn open_log(path: &Path) -> Result<File, Failure> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| format!("cannot write the log {}: {error}", path.display()))
}

/// Logs go to `file`, or to standard error; never to a pipe of our own making.
fn init_logging(debug: bool, file: Option<File>) {
    let mut builder = env_logger::Builder::new();
    if debug {
        builder.filter_level(log::LevelFilter::Debug);
    } else {
        builder.filter_level(log::LevelFilter::Info);
        // It warns of every request that is answered with ENOSYS, which is no news.
        builder.filter_module("fuser", log::LevelFilter::Error);
    }
    if let Some(file) = file {
        builder.target(env_logger::Target::Pipe(Box::new(file)));
    }
    builder.init();
}
