// SPDX-License-Identifier: Apache-2.0
//! `dump.vexfs`: show any structure of a volume as text or JSON (docs/format.md, section 16).
//!
//! It reads the device as it is, checks nothing but what it needs to find its way, and says where a checksum is wrong.

mod blocks;
mod files;
mod image;
mod layouts;
mod log;
mod text;

use clap::{CommandFactory, Parser};
use image::Image;
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;
use vexfs::disk::Result;

/// Show any structure of a VexFS volume.
#[derive(Debug, Parser)]
#[command(name = "dump.vexfs", version)]
struct Arguments {
    /// JSON in place of text.
    #[arg(long)]
    json: bool,
    /// Show the volume as it would be after the replay of its journal (in memory only).
    #[arg(long)]
    replay: bool,
    /// A file or block device.
    image: PathBuf,
    #[command(subcommand)]
    what: What,
}

/// What to show; the field names are the format's.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// The superblock, or the copy in block N.
    Super { n: Option<u64> },
    /// The state block.
    State,
    /// The summary, of all groups or of one.
    Summary { group: Option<u32> },
    /// A group block: what is in use.
    Group { group: u32 },
    /// An inode.
    Inode { ino: u32 },
    /// The extents of an inode.
    Extents { ino: u32 },
    /// A block of an extent tree.
    ExtentBlock { block: u64 },
    /// The records of a directory.
    Dir { ino: u32 },
    /// A block of a directory.
    DirBlock { block: u64 },
    /// The attributes of an inode.
    Xattr { ino: u32 },
    /// The target of a symlink.
    Symlink { ino: u32 },
    /// The orphan list.
    Orphans,
    /// The journal: superblock, transactions, tags, revokes.
    Journal,
    /// A collection: its store.
    Collection { ino: u32 },
    /// The slots of a collection.
    SlotMap { ino: u32 },
    /// The vector of a file.
    Vector { ino: u32 },
    /// What a block is, and whose.
    Block { block: u64 },
    /// The inode that a path leads to.
    Path { path: String },
    /// Everything but contents.
    All,
    /// What this build takes a header of the module to be, of no volume in particular.
    #[command(hide = true)]
    Layouts { header: layouts::Header },
}

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1);
    if let Some(code) = vexfs::completions::asked(&Arguments::command(), words) {
        return code;
    }
    let arguments = Arguments::parse();
    match show(&arguments) {
        Ok(value) => text::print(&value, arguments.json),
        Err(error) => {
            eprintln!("dump.vexfs: {}: {error}", arguments.image.display());
            ExitCode::FAILURE
        }
    }
}

fn show(arguments: &Arguments) -> Result<Value> {
    if let What::Super { n: Some(n) } = arguments.what {
        return image::superblock_at(&arguments.image, n);
    }
    if let What::Layouts { header } = arguments.what {
        return Ok(layouts::show(header));
    }
    let image = Image::open(&arguments.image, arguments.replay)?;
    match &arguments.what {
        What::Layouts { header } => Ok(layouts::show(*header)),
        What::Super { .. } => Ok(blocks::superblock(image.superblock())),
        What::State => blocks::state(&image),
        What::Summary { group } => blocks::summary(&image, *group),
        What::Group { group } => blocks::group(&image, *group),
        What::Inode { ino } => files::inode(&image, *ino),
        What::Extents { ino } => files::extents(&image, *ino),
        What::ExtentBlock { block } => blocks::extent_block(&image, *block),
        What::Dir { ino } => files::directory(&image, *ino),
        What::DirBlock { block } => blocks::dir_block(&image, *block),
        What::Xattr { ino } => files::xattr(&image, *ino),
        What::Symlink { ino } => files::symlink(&image, *ino),
        What::Orphans => files::orphans(&image),
        What::Journal => log::journal(&image),
        What::Collection { ino } => files::collection(&image, *ino),
        What::SlotMap { ino } => files::slot_map(&image, *ino),
        What::Vector { ino } => files::vector(&image, *ino),
        What::Block { block } => blocks::any(&image, *block),
        What::Path { path } => files::path(&image, path),
        What::All => files::all(&image),
    }
}
