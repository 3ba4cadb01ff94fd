// SPDX-License-Identifier: Apache-2.0
//! `kernel/include/uapi/vexfs.h` and `kernel/vexfs_format.h`, compiled by the C compiler, against what this crate says.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use vexfs::uapi;

fn kernel() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../kernel")
}

/// Compiles and runs a C program that prints lines "name value".
fn facts(source: &str) -> BTreeMap<String, u64> {
    let folder = tempfile::tempdir().expect("a folder");
    let (c, program) = (folder.path().join("facts.c"), folder.path().join("facts"));
    std::fs::write(&c, source).expect("writes");
    // The kernel's own header, which programs do not have; nothing of it changes a layout.
    std::fs::create_dir(folder.path().join("linux")).expect("makes");
    let bits = "#define BIT(n) (1UL << (n))\n#define BIT_ULL(n) (1ULL << (n))\n";
    std::fs::write(folder.path().join("linux/bits.h"), bits).expect("writes");
    let done = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Werror", "-I"])
        .arg(kernel().join("include/uapi"))
        .arg("-I")
        .arg(kernel())
        .arg("-idirafter")
        .arg(folder.path())
        .arg(&c)
        .arg("-o")
        .arg(&program)
        .output()
        .expect("cc runs");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let done = Command::new(&program).output().expect("runs");
    let said = String::from_utf8(done.stdout).expect("is text");
    let lines = said.lines().map(|line| {
        let (name, value) = line.split_once(' ').expect("two words");
        (name.to_owned(), value.parse().expect("a number"))
    });
    lines.collect()
}

fn line(out: &mut String, name: &str, value: &str) {
    writeln!(
        out,
        "printf(\"{name} %llu\\n\", (unsigned long long)({value}));"
    )
    .expect("grows");
}

#[test]
fn the_header_for_programs_says_the_same_in_c_and_rust() {
    let mut c = String::from(
        "#include <stddef.h>\n#include <stdio.h>\n#include \"vexfs.h\"\nint main(void) {\n",
    );
    let mut want = BTreeMap::new();
    for structure in uapi::layouts() {
        let name = structure.name;
        line(&mut c, name, &format!("sizeof(struct {name})"));
        want.insert(name.to_owned(), structure.size as u64);
        for field in structure.fields {
            let (field, offset) = (field.name, field.offset);
            line(
                &mut c,
                &format!("{name}.{field}"),
                &format!("offsetof(struct {name}, {field})"),
            );
            want.insert(format!("{name}.{field}"), offset as u64);
        }
    }
    for (name, value) in uapi::constants() {
        line(&mut c, name, name);
        want.insert(name.to_owned(), value);
    }
    c.push_str("return 0; }\n");
    assert_eq!(facts(&c), want);
    assert!(want.len() > 60, "{}", want.len());
}

#[test]
fn every_constant_and_structure_of_the_header_is_compared() {
    let header = std::fs::read_to_string(kernel().join("include/uapi/vexfs.h")).expect("reads");
    let constants: Vec<&str> = uapi::constants().iter().map(|(name, _)| *name).collect();
    for word in header
        .lines()
        .filter_map(|line| line.strip_prefix("#define VEXFS_"))
    {
        let name = format!(
            "VEXFS_{}",
            word.split_whitespace().next().unwrap_or_default()
        );
        assert!(constants.contains(&name.as_str()), "{name} is not compared");
    }
    let structures: Vec<&str> = uapi::layouts().iter().map(|each| each.name).collect();
    for line in header
        .lines()
        .filter_map(|line| line.strip_prefix("struct "))
    {
        let name = line.trim_end_matches([' ', '{']);
        assert!(structures.contains(&name), "struct {name} is not compared");
    }
}

macro_rules! offsets {
    ($want:ident, $c:ident: $c_name:literal = $type:ty; $($field:ident)*) => {
        $(
            let (name, value) = (concat!($c_name, ".", stringify!($field)), core::mem::offset_of!($type, $field));
            line(&mut $c, name, concat!("offsetof(struct ", $c_name, ", ", stringify!($field), ")"));
            $want.insert(name.to_owned(), value as u64);
        )*
    };
}

#[test]
fn the_structures_on_disk_are_the_same_in_the_module_and_here() {
    use vexfs::disk::layout::{
        BLOCK_BITMAP, GROUP_BLOCKS, Header, INODE_BITMAP, INODE_SIZE, RawErrorRecord, RawGroupHead,
        RawInode, RawState, RawSummaryEntry, RawSummaryHead, RawSuper, SUMMARY_ENTRIES,
    };
    let mut c = String::from(
        "#include <stddef.h>\n#include <stdio.h>\n#include <linux/types.h>\n\
         #define __packed __attribute__((packed))\n#define cpu_to_le32(x) (x)\n\
         #define BUILD_BUG_ON(x) _Static_assert(!(x), #x)\n\
         #include \"vexfs_format.h\"\nint main(void) {\n",
    );
    let mut want = BTreeMap::new();
    offsets!(want, c: "vexfs_header" = Header; magic checksum blocknr owner generation);
    offsets!(want, c: "vexfs_super" = RawSuper; magic checksum blocknr version feature_compat feature_ro_compat
        feature_incompat uuid label hash_key total_blocks summary_start summary_blocks groups journal_start
        journal_blocks group_blocks groups_start inodes_per_group itable_blocks log_block_size inode_size mkfs_time
        backup root_ino serial);
    offsets!(want, c: "vexfs_error_record" = RawErrorRecord; time block ino place);
    offsets!(want, c: "vexfs_state" = RawState; zero flags mount_count mount_time write_time orphan_head error_count
        first_error last_error check_time writer);
    offsets!(want, c: "vexfs_summary_entry" = RawSummaryEntry; free_blocks free_inodes init);
    offsets!(want, c: "vexfs_summary" = RawSummaryHead; count first_group);
    offsets!(want, c: "vexfs_group_block" = RawGroupHead; blocks inodes reserved);
    offsets!(want, c: "vexfs_inode" = RawInode; magic checksum generation mode xattr_len uid gid nlink flags size blocks
        atime mtime ctime btime xattr_block rdev orphan_next parent link special root xattr);
    let more = [
        (
            "errno",
            "offsetof(struct vexfs_error_record, error)",
            core::mem::offset_of!(RawErrorRecord, errno),
        ),
        ("inode size", "sizeof(struct vexfs_inode)", INODE_SIZE),
        (
            "inode bitmap",
            "offsetof(struct vexfs_group_block, ibitmap)",
            INODE_BITMAP,
        ),
        (
            "block bitmap",
            "offsetof(struct vexfs_group_block, bbitmap)",
            BLOCK_BITMAP,
        ),
        ("summary size", "sizeof(struct vexfs_summary)", 4096),
        ("group blocks", "VEXFS_GROUP_BLOCKS", GROUP_BLOCKS as usize),
        (
            "summary entries",
            "VEXFS_SUMMARY_ENTRIES",
            SUMMARY_ENTRIES as usize,
        ),
    ];
    for (name, expression, value) in more {
        let name = name.replace(' ', "_");
        line(&mut c, &name, expression);
        want.insert(name, value as u64);
    }
    c.push_str("return 0; }\n");
    assert_eq!(facts(&c), want);
}
