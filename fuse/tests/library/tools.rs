// SPDX-License-Identifier: Apache-2.0
//! `mkfs.vexfs` and `dump.vexfs` as a person calls them.

use std::path::Path;
use std::process::{Command, Output};

const SEED: &str = "000102030405060708090a0b0c0d0e0f";

fn run(program: &str, image: &Path, before: &[&str], after: &[&str]) -> Output {
    let mut command = Command::new(program);
    let command = command.args(before).arg(image).args(after);
    command.output().expect("the tool starts")
}

fn mkfs(image: &Path, before: &[&str], after: &[&str]) -> Output {
    run(env!("CARGO_BIN_EXE_mkfs_vexfs"), image, before, after)
}

fn dump(image: &Path, what: &[&str]) -> serde_json::Value {
    let output = run(env!("CARGO_BIN_EXE_dump_vexfs"), image, &["--json"], what);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{what:?}: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn error_of(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_seed_makes_the_same_bytes_and_the_options_are_found_in_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let options = [
        "--seed", SEED, "-L", "größe", "-J", "300", "-i", "8192", "--time", "-5",
    ];
    for image in [&a, &b] {
        assert!(mkfs(image, &options, &["8M"]).status.success());
    }
    assert!(std::fs::read(&a).expect("a") == std::fs::read(&b).expect("b"));
    let superblock = dump(&a, &["super"]);
    assert_eq!(superblock["label"], "größe");
    assert_eq!(superblock["journal_blocks"], 300);
    assert_eq!(superblock["total_blocks"], 2048);
    assert_eq!(superblock["mkfs_time"], -5);
    assert_eq!(dump(&a, &["inode", "1"])["mode"], "040755");
    assert_eq!(dump(&a, &["super", "2047"])["blocknr"], 2047);
    assert_eq!(dump(&a, &["journal"])["s_start"], 0);
}

#[test]
fn a_filesystem_is_overwritten_only_by_force() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("image");
    assert!(mkfs(&image, &["-q"], &["4M"]).status.success());
    let before = std::fs::read(&image).expect("the image");
    assert!(error_of(&mkfs(&image, &[], &[])).contains("holds VexFS; use -f"));
    assert!(before == std::fs::read(&image).expect("the image"));
    assert!(mkfs(&image, &["-f"], &[]).status.success());
    assert!(
        before != std::fs::read(&image).expect("the image"),
        "another uuid"
    );
}

#[test]
fn what_is_too_small_is_refused_and_leaves_no_file_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("image");
    assert!(error_of(&mkfs(&image, &[], &["4095K"])).contains("too few"));
    assert!(error_of(&mkfs(&image, &["-J", "300"], &["4M"])).contains("journal"));
    assert!(!image.exists());
    assert!(error_of(&mkfs(&image, &[], &[])).contains("No such file"));
}

#[test]
fn an_image_in_use_is_refused() {
    use vexfs::disk::{Access, FileDevice};
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("image");
    assert!(mkfs(&image, &[], &["4M"]).status.success());
    let held = FileDevice::open(&image, Access::ReadWrite).expect("a daemon");
    assert!(error_of(&mkfs(&image, &["-f"], &[])).contains("in use"));
    drop(held);
    assert!(mkfs(&image, &["-f"], &[]).status.success());
}

#[test]
fn dump_shows_every_structure_of_a_fresh_volume() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("image");
    assert!(mkfs(&image, &["--seed", SEED], &["4M"]).status.success());
    assert_eq!(dump(&image, &["state"])["flags"], 1);
    assert_eq!(
        dump(&image, &["summary", "0"])[0]["entries"][0]["free_blocks"],
        738
    );
    assert_eq!(
        dump(&image, &["group", "0"])["block_bitmap"],
        "0..25 764..24063"
    );
    assert_eq!(dump(&image, &["extents", "1"])["extents"][0]["pblk"], 284);
    assert_eq!(
        dump(&image, &["dir", "1"])["records"],
        serde_json::json!([])
    );
    assert_eq!(dump(&image, &["dir-block", "284"])["magic"], "VXDL");
    assert_eq!(dump(&image, &["block", "284"])["type"], "directory");
    assert_eq!(dump(&image, &["block", "1023"])["type"], "superblock");
    assert_eq!(dump(&image, &["path", "/"])["ino"], 1);
    assert_eq!(dump(&image, &["inode", "2"])["free"], true);
    assert_eq!(
        dump(&image, &["all"])["inodes"].as_array().map(Vec::len),
        Some(1)
    );
    let text = run(env!("CARGO_BIN_EXE_dump_vexfs"), &image, &[], &["super"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("total_blocks: 1024"));
    let missing = run(
        env!("CARGO_BIN_EXE_dump_vexfs"),
        &image,
        &[],
        &["path", "/none"],
    );
    assert!(error_of(&missing).contains("no such file"));
}
