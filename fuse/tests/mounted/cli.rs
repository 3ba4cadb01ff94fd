// SPDX-License-Identifier: Apache-2.0
//! The command line's contract: what it prints and how it exits. No mount is made.

use std::path::Path;
use std::process::{Command, Output};

fn vexfs_fuse(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vexfs_fuse"))
        .args(args)
        .output()
        .expect("vexfs_fuse starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[test]
fn help_documents_the_contract() {
    let output = vexfs_fuse(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = stdout(&output);
    for part in [
        "Usage: vexfs_fuse [OPTIONS] <mountpoint>",
        "-f, --foreground",
        "-d, --debug",
        "-h, --help",
        "-V, --version",
        "-o <options>",
        "--log <path>",
    ] {
        assert!(help.contains(part), "`{part}` is missing from:\n{help}");
    }
    assert!(!help.contains("--detached"), "{help}");
}

#[test]
fn version_is_one_line() {
    for flag in ["--version", "-V"] {
        let output = vexfs_fuse(&[flag]);
        assert_eq!(output.status.code(), Some(0));
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(stdout(&output), format!("vexfs_fuse {version}\n"));
    }
}

#[test]
fn verbose_version_reports_what_was_compiled_in() {
    let output = vexfs_fuse(&["--version", "--verbose"]);
    assert_eq!(output.status.code(), Some(0));
    let info: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(info["name"], "vexfs_fuse");
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        info["features"],
        serde_json::json!(["fuse_support", "vector"])
    );
    assert_eq!(
        info["commit"],
        option_env!("VEXCI_COMMIT").unwrap_or("unknown")
    );
}

#[test]
fn the_feature_mark_is_in_the_file() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_vexfs_fuse")).expect("readable");
    let mark = format!(
        "vexfs_fuse {}\nfuse_support\nvector\n",
        env!("CARGO_PKG_VERSION")
    );
    assert!(binary.windows(mark.len()).any(|at| at == mark.as_bytes()));
    assert!(binary.windows(16).any(|at| at == b".vexfs.features\0"));
}

#[test]
fn wrong_command_lines_exit_2_and_say_why() {
    for (args, says) in [
        (&[][..], "<mountpoint>"),
        (&["--bogus", "/mnt"], "--bogus"),
        (&["-o", "bogus", "/mnt"], "unknown mount option `bogus`"),
        (&["-o", "size=lots", "/mnt"], "`size=lots`"),
        (&["--verbose", "/mnt"], "--version"),
        (&["/mnt", "/tmp"], "/tmp"),
    ] {
        let output = vexfs_fuse(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let error = stderr(&output);
        assert!(error.contains(says), "{args:?}: {error}");
    }
}

#[test]
fn bad_mountpoints_give_one_sentence_and_exit_1() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let file = file.path().to_str().expect("UTF-8");
    for (mountpoint, says) in [
        ("/nonexistent/vexfs", "does not exist"),
        (file, "is not a directory"),
    ] {
        for foreground in [&[][..], &["-f"]] {
            let output = vexfs_fuse(&[foreground, &[mountpoint]].concat());
            assert_eq!(output.status.code(), Some(1));
            let error = stderr(&output);
            assert!(error.contains(says), "{error}");
            assert!(error.contains(mountpoint), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}

#[test]
fn a_log_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mountpoint = dir.path().to_str().expect("UTF-8");
    let output = vexfs_fuse(&["--log", "/nonexistent/log", mountpoint]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/nonexistent/log"));
    assert!(!Path::new("/nonexistent").exists());
}

#[test]
fn it_prints_what_shells_complete_it_by() {
    for (shell, sign) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef vexfs_fuse"),
        ("fish", "complete -c vexfs_fuse"),
    ] {
        let output = vexfs_fuse(&["--completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let script = stdout(&output);
        assert!(
            script.contains(sign) && script.contains("foreground"),
            "{script}"
        );
        assert!(
            !script.contains("detached"),
            "what is hidden is not completed"
        );
    }
}

#[test]
fn a_shell_that_is_none_is_a_wrong_command_line() {
    for args in [
        &["--completions", "dos"][..],
        &["--completions"],
        &["--completions", "bash", "/mnt"],
    ] {
        let output = vexfs_fuse(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stdout(&output).is_empty() && !stderr(&output).is_empty());
    }
}
