// SPDX-License-Identifier: Apache-2.0
//! What a shell completes a program's command line by, printed by the program itself: packages are made of it.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Command, ValueEnum};
use clap_complete::Shell;

/// What asks for it; it stands alone with the name of a shell, and in no help.
pub const FLAG: &str = "--completions";

/// Prints the script where `arguments` (without the program's name) are [`FLAG`] and a shell; `None` where they are not.
///
/// It must be asked before the command line is parsed: what a mount needs is not there.
pub fn asked(command: &Command, arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let [flag, shell] = arguments.as_slice() else {
        return None;
    };
    if flag != FLAG {
        return None;
    }
    let name = command.get_name().to_owned();
    let Some(shell) = shell
        .to_str()
        .and_then(|text| Shell::from_str(text, true).ok())
    else {
        let known: Vec<String> = Shell::value_variants()
            .iter()
            .map(ToString::to_string)
            .collect();
        eprintln!("{name}: {FLAG} knows {}", known.join(", "));
        return Some(ExitCode::from(2));
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut visible(command), name, &mut script);
    // Printing fails only if nobody listens any more.
    let printed = std::io::stdout().write_all(&script);
    Some(if printed.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The same command without what its help does not show: clap's script for bash would offer that, too.
fn visible(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|each| !each.is_hide_set());
    let below = command.get_subcommands().filter(|each| !each.is_hide_set());
    let mut found = Command::new(command.get_name().to_owned())
        .disable_version_flag(command.is_disable_version_flag_set())
        .args(arguments.cloned())
        .subcommands(below.map(visible));
    if let Some(version) = command.get_version() {
        found = found.version(version.to_owned());
    }
    if let Some(about) = command.get_about() {
        found = found.about(about.clone());
    }
    found
}
