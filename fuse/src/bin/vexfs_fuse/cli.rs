// SPDX-License-Identifier: Apache-2.0
//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Parser};

use crate::mount_options::OptionList;

const OPTIONS_HELP: &str = "\
Mount options, separated by commas: size=BYTES[k|m|g|t] (in memory only; default: half of it), \
errors=remount-ro|continue|panic (of an image), ro, rw, allow_other, \
allow_root, default_permissions (always on), fsname=NAME, and [no]dev, [no]suid, [no]exec, [no]atime, sync, async, \
dirsync";

/// Mount a VexFS volume: that of an image or device, or one in memory.
///
/// Without --image, everything in the volume is gone when the daemon ends.
#[derive(Debug, Parser)]
#[command(
    name = "vexfs_fuse",
    version,
    disable_version_flag = true,
    override_usage = "vexfs_fuse [OPTIONS] <mountpoint>",
    after_help = "Exit codes: 0 done (without -f: the mount is live), 1 failure, 2 wrong command line."
)]
pub(crate) struct Cli {
    /// Directory to mount on
    #[arg(value_name = "mountpoint")]
    pub(crate) mountpoint: PathBuf,

    /// File or block device with the volume (made by mkfs.vexfs); without it, an empty volume in memory
    #[arg(long, value_name = "path")]
    pub(crate) image: Option<PathBuf>,

    /// Stay in the foreground and log to standard error
    #[arg(short, long)]
    pub(crate) foreground: bool,

    /// Log every request
    #[arg(short, long)]
    pub(crate) debug: bool,

    /// Mount options, separated by commas; see the help.
    #[arg(short = 'o', value_name = "options", value_parser = OptionList::parse, help = OPTIONS_HELP)]
    pub(crate) options: Vec<OptionList>,

    /// Append the log to this file
    #[arg(long, value_name = "path")]
    pub(crate) log: Option<PathBuf>,

    /// With --version: name, version, commit and features as JSON
    #[arg(long, requires = "version")]
    verbose: bool,

    /// Print version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,

    /// Used by the daemon on itself: report to standard output when the mount is live.
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
