// SPDX-License-Identifier: Apache-2.0
//! Running in the background, without claiming success too early.
//!
//! The parent starts this same program again with `--detached` and a pipe as its standard output, and waits. The
//! child mounts, writes `ready`, and only then lets go of the pipe; or it writes the sentence that says what failed.
//! If the child dies without a word, the parent reads the end of the pipe and says so.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, absolute};
use std::process::{Command, Stdio};

use crate::Failure;
use crate::cli::Cli;

const READY: &str = "ready\n";

/// Starts the child and returns when its mount is live.
///
/// # Errors
/// The child's sentence, or how it died.
pub(crate) fn as_parent(cli: &Cli, mountpoint: &Path, log: Option<File>) -> Result<(), Failure> {
    let program =
        std::env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
    let mut command = Command::new(program);
    command
        .arg0("vexfs_fuse")
        .arg("--detached")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.map_or_else(Stdio::null, Stdio::from));
    if cli.debug {
        command.arg("--debug");
    }
    for list in &cli.options {
        command.arg("-o").arg(&list.text);
    }
    for (flag, path) in [("--log", &cli.log), ("--image", &cli.image)] {
        if let Some(path) = path {
            let path = absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
            command.arg(flag).arg(path);
        }
    }
    command.arg("--").arg(mountpoint);

    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start the daemon: {error}"))?;
    let mut said = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut said)
            .map_err(|error| format!("lost contact with the daemon: {error}"))?;
    }
    if said == READY {
        return Ok(());
    }
    let status = child
        .wait()
        .map_err(|error| format!("lost the daemon: {error}"))?;
    match said.trim_end() {
        "" => Err(format!("the daemon died before it could mount ({status})")),
        failure => Err(failure.to_owned()),
    }
}

/// The child's life: `work` gets a function to call as soon as the mount is live.
///
/// # Errors
/// What `work` failed with. Before the mount was live, the parent has been told.
pub(crate) fn as_child(
    work: impl FnOnce(fn() -> Result<(), Failure>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let done = leave_session().and_then(|()| work(report_ready));
    if let Err(failure) = &done {
        // After `report_ready` this goes to /dev/null, as it should: the parent is gone.
        let _ = writeln!(std::io::stdout(), "{failure}");
    }
    done
}

/// Out of the terminal's reach, and out of the way of unmounting other file systems.
fn leave_session() -> Result<(), Failure> {
    rustix::process::setsid().map_err(|error| format!("cannot start a session: {error}"))?;
    std::env::set_current_dir("/").map_err(|error| format!("cannot change to /: {error}"))
}

/// Tells the parent, and closes the pipe by putting /dev/null in its place.
fn report_ready() -> Result<(), Failure> {
    let mut stdout = std::io::stdout();
    stdout
        .write_all(READY.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| format!("whoever started me is gone: {error}"))?;
    let null = OpenOptions::new()
        .write(true)
        .open("/dev/null")
        .map_err(|error| format!("cannot open /dev/null: {error}"))?;
    rustix::stdio::dup2_stdout(null).map_err(|error| format!("cannot close the pipe: {error}"))
}
