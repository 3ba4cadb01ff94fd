// SPDX-License-Identifier: Apache-2.0
//! `mkfs.vexfs`: make a volume (docs/format.md, section 14).

use clap::{CommandFactory, Parser};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use vexfs::disk::layout::BLOCK_SIZE;
use vexfs::disk::mkfs::{self, Identity};
use vexfs::disk::{Access, BlockDevice, Error, FileDevice, Superblock};

/// Make a VexFS volume on a file or block device.
#[derive(Debug, Parser)]
#[command(name = "mkfs.vexfs", version)]
struct Arguments {
    /// Label of the volume, at most 32 bytes.
    #[arg(short = 'L', long, default_value = "")]
    label: String,
    /// UUID of the volume; random by default.
    #[arg(short = 'U', long, value_parser = uuid)]
    uuid: Option<[u8; 16]>,
    /// Make one inode for this many bytes (4096 to 65536).
    #[arg(short = 'i', long, default_value_t = 16384, value_name = "BYTES")]
    bytes_per_inode: u32,
    /// Blocks of the journal (256 to 262144); by the size of the volume by default.
    #[arg(short = 'J', long, value_name = "BLOCKS")]
    journal_blocks: Option<u32>,
    /// 16 bytes in hex from which all that is random is made; all times are 0.
    #[arg(long, value_name = "HEX", value_parser = hex16)]
    seed: Option<[u8; 16]>,
    /// 16 bytes in hex: the key of the name hashes; random by default.
    #[arg(long, value_name = "HEX", value_parser = hex16)]
    hash_key: Option<[u8; 16]>,
    /// The time to write everywhere, in nanoseconds since 1970; now by default.
    #[arg(long, value_name = "NANOSECONDS", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Make it even where a filesystem is already.
    #[arg(short = 'f', long)]
    force: bool,
    /// Say nothing when all went well.
    #[arg(short = 'q', long)]
    quiet: bool,
    /// A block device, or a file; a file that does not exist is made if a size is given.
    device: PathBuf,
    /// Size of the volume: bytes, or with K, M, G or T; the device's by default.
    #[arg(value_parser = size)]
    size: Option<u64>,
}

fn hex16(text: &str) -> Result<[u8; 16], String> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("32 hexadecimal digits are needed".into());
    }
    for (byte, at) in bytes.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|e| e.to_string())?;
    }
    Ok(bytes)
}

fn uuid(text: &str) -> Result<[u8; 16], String> {
    let bytes = hex16(&text.replace('-', ""))?;
    if bytes == [0; 16] {
        Err("a uuid is not all 0".into())
    } else {
        Ok(bytes)
    }
}

fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.to_ascii_uppercase().strip_suffix(['K', 'M', 'G', 'T']) {
        Some(digits) => (
            digits.to_owned(),
            match text.as_bytes()[text.len() - 1] {
                b'K' | b'k' => 10,
                b'M' | b'm' => 20,
                b'G' | b'g' => 30,
                _ => 40,
            },
        ),
        None => (text.to_owned(), 0),
    };
    let number: u64 = digits.parse().map_err(|e| format!("{e}"))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "too large".into())
}

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1);
    if let Some(code) = vexfs::completions::asked(&Arguments::command(), words) {
        return code;
    }
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(superblock) => {
            if !arguments.quiet {
                describe(&arguments.device, &superblock);
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("mkfs.vexfs: {}: {error}", arguments.device.display());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Superblock, Error> {
    let mut options = mkfs::Options::new(identity(arguments)?);
    options.label.clone_from(&arguments.label);
    options.bytes_per_inode = arguments.bytes_per_inode;
    options.journal_blocks = arguments.journal_blocks;
    options.blocks = arguments.size.map(|bytes| bytes / BLOCK_SIZE as u64);
    options.time = match (arguments.time, arguments.seed) {
        (Some(time), _) => time,
        (None, Some(_)) => 0,
        (None, None) => now(),
    };
    // A plan that cannot be carried out must leave no file behind, and an old one as it was.
    if let Some(blocks) = options.blocks {
        mkfs::plan(&options, blocks)?;
    }
    let device = open(arguments, options.blocks)?;
    if !arguments.force {
        refuse_filesystem(&device)?;
    }
    mkfs::format(&device, &options)
}

fn identity(arguments: &Arguments) -> Result<Identity, Error> {
    let mut identity = match &arguments.seed {
        Some(seed) => Identity::from_seed(seed),
        None => Identity::random()?,
    };
    identity.uuid = arguments.uuid.unwrap_or(identity.uuid);
    identity.hash_key = arguments.hash_key.unwrap_or(identity.hash_key);
    Ok(identity)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

/// Open and lock the device; a regular file is made or made longer where a size asks for it.
fn open(arguments: &Arguments, blocks: Option<u64>) -> Result<FileDevice, Error> {
    let path = &arguments.device;
    refuse_mounted(path)?;
    if blocks.is_some() && !path.exists() {
        let created = std::fs::File::create_new(path);
        created.map_err(|e| Error::Invalid(format!("cannot be made: {e}")))?;
    }
    let mut device = FileDevice::open(path, Access::ReadWrite)?;
    match blocks {
        Some(blocks) if blocks > device.blocks() && !device.is_block_device() => {
            device.resize(blocks)?;
        }
        _ => {}
    }
    Ok(device)
}

/// `O_EXCL` and `flock` see other users of the device; this also sees a loop device mounted from the file.
fn refuse_mounted(path: &Path) -> Result<(), Error> {
    let Ok(real) = path.canonicalize() else {
        return Ok(());
    };
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let is_mounted = mounts
        .lines()
        .any(|line| line.split(' ').next().map(Path::new) == Some(&real));
    let mut backed = Vec::new();
    for entry in std::fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
    {
        let backing = std::fs::read_to_string(entry.path().join("loop/backing_file"));
        if backing.is_ok_and(|file| Path::new(file.trim_end()) == real) {
            backed.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    if is_mounted || !backed.is_empty() {
        let by = if backed.is_empty() {
            "mounted".into()
        } else {
            backed.join(", ")
        };
        return Err(Error::Busy(format!("the device ({by})")));
    }
    Ok(())
}

/// Refuse what looks like a filesystem, a swap area or a partition table.
fn refuse_filesystem(device: &FileDevice) -> Result<(), Error> {
    let mut start = vec![0; 17 * BLOCK_SIZE];
    if device.blocks() < 17 {
        return Ok(());
    }
    let unreadable = |e: std::io::Error| Error::Invalid(format!("cannot be read: {e}"));
    device.read_blocks(0, &mut start).map_err(unreadable)?;
    let signatures: [(&str, usize, &[u8]); 9] = [
        ("VexFS", 0, b"FXEV"),
        ("ext2, ext3 or ext4", 0x438, &[0x53, 0xef]),
        ("XFS", 0, b"XFSB"),
        ("btrfs", 0x10040, b"_BHRfS_M"),
        ("swap", 4086, b"SWAPSPACE2"),
        ("LUKS", 0, b"LUKS\xba\xbe"),
        ("LVM", 0x218, b"LVM2 001"),
        ("a GUID partition table", 512, b"EFI PART"),
        ("a partition table or FAT", 510, &[0x55, 0xaa]),
    ];
    match signatures
        .iter()
        .find(|(_, at, magic)| start[*at..].starts_with(magic))
    {
        Some((name, ..)) => Err(Error::Invalid(format!(
            "holds {name}; use -f to overwrite it"
        ))),
        None => Ok(()),
    }
}

fn describe(path: &Path, superblock: &Superblock) {
    let geometry = superblock.geometry();
    let uuid = superblock
        .raw()
        .uuid
        .map(|byte| format!("{byte:02x}"))
        .concat();
    let parts = [
        &uuid[..8],
        &uuid[8..12],
        &uuid[12..16],
        &uuid[16..20],
        &uuid[20..],
    ];
    println!("{}: VexFS, uuid {}", path.display(), parts.join("-"));
    println!(
        "{} blocks of {BLOCK_SIZE} bytes, {} for files; {} inodes; {} groups; journal of {} blocks",
        geometry.total_blocks,
        geometry.usable_blocks(),
        geometry.inodes(),
        geometry.groups,
        geometry.journal_blocks
    );
}
