#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the arithmetic of format.md and vexfs.h: sizes, offsets, geometry, hashes.

Run it without arguments; it prints the tables that format.md quotes and exits 1
on the first thing that does not add up. It needs gcc and the kernel's uapi headers
for the last part, the comparison of vexfs.h with what is written here.
"""

import pathlib
import subprocess
import sys
import tempfile

BS = 4096
HERE = pathlib.Path(__file__).resolve().parent

# ---------------------------------------------------------------- structures
# name -> (size, [(field, offset, size)]); a gap must be filled by a named field.
HEADER = [("magic", 0, 4), ("checksum", 4, 4), ("blocknr", 8, 8), ("owner", 16, 4), ("generation", 20, 4)]
STRUCTS = {
    "super": (
        4096,
        [
            ("magic", 0x00, 4),
            ("checksum", 0x04, 4),
            ("blocknr", 0x08, 8),
            ("version", 0x10, 4),
            ("feature_compat", 0x14, 4),
            ("feature_ro_compat", 0x18, 4),
            ("feature_incompat", 0x1C, 4),
            ("uuid", 0x20, 16),
            ("label", 0x30, 32),
            ("hash_key", 0x50, 16),
            ("total_blocks", 0x60, 8),
            ("summary_start", 0x68, 8),
            ("summary_blocks", 0x70, 4),
            ("groups", 0x74, 4),
            ("journal_start", 0x78, 8),
            ("journal_blocks", 0x80, 4),
            ("group_blocks", 0x84, 4),
            ("groups_start", 0x88, 8),
            ("inodes_per_group", 0x90, 4),
            ("itable_blocks", 0x94, 4),
            ("log_block_size", 0x98, 4),
            ("inode_size", 0x9C, 4),
            ("mkfs_time", 0xA0, 8),
            ("backup0", 0xA8, 8),
            ("backup1", 0xB0, 8),
            ("root_ino", 0xB8, 4),
            ("serial", 0xBC, 4),
            ("reserved", 0xC0, 4096 - 0xC0),
        ],
    ),
    "state": (
        4096,
        [
            *HEADER,
            ("pad", 24, 8),
            ("flags", 32, 4),
            ("mount_count", 36, 4),
            ("mount_time", 40, 8),
            ("write_time", 48, 8),
            ("orphan_head", 56, 4),
            ("error_count", 60, 4),
            ("first_error", 64, 48),
            ("last_error", 112, 48),
            ("check_time", 160, 8),
            ("writer", 168, 32),
            ("reserved", 200, 4096 - 200),
        ],
    ),
    "error_record": (48, [("time", 0, 8), ("block", 8, 8), ("ino", 16, 4), ("errno", 20, 4), ("place", 24, 24)]),
    "summary": (4096, [*HEADER, ("count", 24, 4), ("first_group", 28, 4), ("entry", 32, 508 * 8)]),
    "summary_entry": (8, [("free_blocks", 0, 4), ("free_inodes", 4, 2), ("init", 6, 2)]),
    "group": (
        4096,
        [*HEADER, ("blocks", 24, 4), ("inodes", 28, 4), ("reserved", 32, 32), ("inode_bitmap", 64, 1024), ("block_bitmap", 1088, 3008)],
    ),
    "inode": (
        512,
        [
            ("magic", 0x00, 4),
            ("checksum", 0x04, 4),
            ("generation", 0x08, 4),
            ("mode", 0x0C, 2),
            ("xattr_len", 0x0E, 2),
            ("uid", 0x10, 4),
            ("gid", 0x14, 4),
            ("nlink", 0x18, 4),
            ("flags", 0x1C, 4),
            ("size", 0x20, 8),
            ("blocks", 0x28, 8),
            ("atime", 0x30, 8),
            ("mtime", 0x38, 8),
            ("ctime", 0x40, 8),
            ("btime", 0x48, 8),
            ("xattr_block", 0x50, 8),
            ("rdev", 0x58, 4),
            ("orphan_next", 0x5C, 4),
            ("parent", 0x60, 4),
            ("link", 0x64, 4),
            ("special", 0x68, 24),
            ("root", 0x80, 128),
            ("xattr", 0x100, 256),
        ],
    ),
    "special_dir": (24, [("entries", 0, 4), ("reserved", 4, 20)]),
    "special_store": (
        24,
        [
            ("slots", 0, 4),
            ("live", 4, 4),
            ("dimension", 8, 2),
            ("metric", 10, 1),
            ("element", 11, 1),
            ("stride", 12, 4),
            ("reserved", 16, 8),
        ],
    ),
    "extent_root": (128, [("entries", 0, 2), ("depth", 2, 2), ("reserved", 4, 12), ("entry", 16, 7 * 16)]),
    "extent_block": (4096, [*HEADER, ("entries", 24, 2), ("depth", 26, 2), ("pad", 28, 4), ("entry", 32, 254 * 16)]),
    "extent": (16, [("lblk", 0, 4), ("len", 4, 4), ("pblk", 8, 8)]),
    "extent_index": (16, [("lblk", 0, 4), ("zero", 4, 4), ("pblk", 8, 8)]),
    "dir_leaf": (4096, [*HEADER, ("level", 24, 2), ("used", 26, 2), ("lblk", 28, 4), ("record", 32, 4064)]),
    "dir_index": (4096, [*HEADER, ("level", 24, 2), ("entries", 26, 2), ("lblk", 28, 4), ("entry", 32, 254 * 16)]),
    "dir_index_entry": (16, [("key", 0, 8), ("lblk", 8, 4), ("zero", 12, 4)]),
    "dir_record": (16, [("key", 0, 8), ("ino", 8, 4), ("name_len", 12, 1), ("type", 13, 1), ("zero", 14, 2)]),
    "xattr_block": (4096, [*HEADER, ("used", 24, 2), ("pad", 26, 6), ("entry", 32, 4064)]),
    "xattr_entry": (4, [("namespace", 0, 1), ("name_len", 1, 1), ("value_len", 2, 2)]),
    "symlink_block": (4096, [*HEADER, ("lblk", 24, 4), ("used", 28, 4), ("text", 32, 4064)]),
    "slot_map": (4096, [*HEADER, ("first_slot", 24, 4), ("pad", 28, 4), ("entry", 32, 254 * 16)]),
    "slot": (16, [("ino", 0, 4), ("generation", 4, 4), ("crc", 8, 4), ("zero", 12, 4)]),
}


def check_structs():
    for name, (size, fields) in STRUCTS.items():
        at = 0
        for field, offset, length in fields:
            assert offset == at, f"{name}.{field}: at {offset:#x}, want {at:#x}"
            natural = length if length in (2, 4, 8) else 1
            assert offset % natural == 0, f"{name}.{field} is not aligned"
            at += length
        assert at == size, f"{name}: {at} bytes, want {size}"
        print(f"  {name:16} {size:5} bytes, {len(fields)} fields")
    assert BS // 512 == 8
    assert STRUCTS["super"][1][-1][1] <= 512, "the superblock must fit one sector"
    assert STRUCTS["state"][1][-1][1] <= 512, "the state must fit one sector"


# ------------------------------------------------------------------ hashes
def _table():
    out = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        out.append(n)
    return out


TABLE = _table()


def crc32c(crc, data):
    """The kernel's crc32c(): no inversion, neither before nor after."""
    for byte in data:
        crc = (crc >> 8) ^ TABLE[(crc ^ byte) & 0xFF]
    return crc


M64 = (1 << 64) - 1


def siphash24(key, data):
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rotl(x, b):
        return (x << b | x >> (64 - b)) & M64

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & M64
            v[1] = rotl(v[1], 13) ^ v[0]
            v[0] = rotl(v[0], 32)
            v[2] = (v[2] + v[3]) & M64
            v[3] = rotl(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & M64
            v[3] = rotl(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & M64
            v[1] = rotl(v[1], 17) ^ v[2]
            v[2] = rotl(v[2], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for i in range(0, len(padded), 8):
        m = int.from_bytes(padded[i : i + 8], "little")
        v[3] ^= m
        rounds(2)
        v[0] ^= m
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


HASH_MAX = 0x7FFFFFFFFFFFFFE0


def dir_hash(key, name):
    return min(max(siphash24(key, name) & 0x7FFFFFFFFFFFFFF8, 8), HASH_MAX)


def check_hashes():
    assert crc32c(0xFFFFFFFF, b"123456789") ^ 0xFFFFFFFF == 0xE3069283
    key = bytes(range(16))
    assert siphash24(key, bytes(range(15))) == 0xA129CA6149BE45E5
    uuid = bytes(range(0x10, 0x20))
    print(f"  crc32c raw of '123456789' from ~0      {crc32c(0xFFFFFFFF, b'123456789'):#010x}")
    print(f"  seed of uuid 10111213-...-1f           {crc32c(0xFFFFFFFF, uuid):#010x}")
    for name in (b"a", b"hello.txt", b"x" * 255):
        text = name.decode() if len(name) < 20 else "255 times 'x'"
        print(f"  dir_hash(key 00..0f, {text:16}) {dir_hash(key, name):#018x}")
    seed = crc32c(0xFFFFFFFF, uuid)
    ino = crc32c(seed, (2).to_bytes(4, "little"))
    inode = bytearray(512)
    inode[0:4] = b"VXIN"
    inode[8:12] = (0x01020304).to_bytes(4, "little")
    inode[12:14] = (0o100644).to_bytes(2, "little")
    inode[0x18:0x1C] = (1).to_bytes(4, "little")
    print(f"  inode 2, that uuid, section 6's example {crc32c(ino, bytes(inode)):#010x}")
    assert HASH_MAX + 7 + 1 < 0x7FFFFFFFFFFFFFF0


# ---------------------------------------------------------------- geometry
GROUP_BLOCKS = 3008 * 8
assert GROUP_BLOCKS == 24064
JOURNAL = [(4096, 256), (32768, 1024), (262144, 4096), (2097152, 8192), (33554432, 16384), (None, 32768)]


def div_up(a, b):
    return -(-a // b)


def geometry(size, ratio=16384):
    total = min(size // BS, 1 << 32)
    assert total >= 1024
    journal = next(j for limit, j in JOURNAL if limit is None or total < limit)
    groups = div_up(total - 2 - journal, GROUP_BLOCKS)
    summary = div_up(groups, 508)
    start = 2 + summary + journal
    rest = total - start
    groups = div_up(rest, GROUP_BLOCKS)
    ipg = div_up(min(rest, GROUP_BLOCKS) * BS, ratio)
    ipg = max(16, min(8192, div_up(ipg, 8) * 8))
    itable = ipg // 8
    if groups > 1 and rest - (groups - 1) * GROUP_BLOCKS < 1 + itable + 64:
        groups -= 1
        total = start + groups * GROUP_BLOCKS
    last = total - start - (groups - 1) * GROUP_BLOCKS
    backups = [total - 1] + ([start + GROUP_BLOCKS - 1] if groups > 1 else [])
    assert 1 + itable + 8 <= last <= GROUP_BLOCKS
    assert groups <= summary * 508
    assert groups * ipg < 1 << 32
    free = []
    for g in range(groups):
        blocks = last if g == groups - 1 else GROUP_BLOCKS
        first = start + g * GROUP_BLOCKS
        used = 1 + itable + sum(first <= b < first + blocks for b in backups) + (g == 0)
        free.append(blocks - used)
    return {
        "total": total,
        "summary_start": 2,
        "summary": summary,
        "journal_start": 2 + summary,
        "journal": journal,
        "groups_start": start,
        "groups": groups,
        "last_group": last,
        "inodes_per_group": ipg,
        "itable": itable,
        "inodes": groups * ipg,
        "backups": backups,
        "free_blocks": sum(free),
        "free_inodes": groups * ipg - 1,
        "free_group0": free[0],
        "free_last": free[-1],
    }


def check_geometry():
    sizes = [
        ("4 MiB", 4 << 20),
        ("16 MiB", 16 << 20),
        ("64 MiB", 64 << 20),
        ("1 GiB", 1 << 30),
        ("100 GiB", 100 << 30),
        ("1 TiB", 1 << 40),
        ("16 TiB", 1 << 44),
    ]
    for text, size in sizes:
        g = geometry(size)
        over = 1 - g["free_blocks"] / g["total"]
        print(f"  {text:8}", " ".join(f"{k}={v}" for k, v in g.items()), f"overhead={over:.2%}")
    for ratio in (4096, 16384, 65536):
        size = 4 << 20
        while size <= 1 << 44:
            for delta in (0, 4096, -4096, 12345):
                if size + delta >= 4 << 20:
                    geometry(size + delta, ratio)
            size = size * 5 // 4
    g = geometry(4 << 20)
    assert (g["groups_start"], g["inodes_per_group"], g["itable"], g["free_blocks"]) == (259, 192, 24, 738)
    g = geometry(1 << 30)
    assert (g["groups_start"], g["groups"], g["last_group"], g["itable"]) == (8195, 11, 13309, 752)
    assert g["backups"] == [262143, 32258]


# ------------------------------------------------------------------ limits
def check_limits():
    assert (4096 - 12 - 4 - 16) // 16 == 254  # tags a descriptor block can hold
    space, n = 4096 - 12 - 16 - 16, 1
    while space >= 16 + 16 + 4:
        space, n = space - 16, n + 1
    assert n == 253, n  # tags that the kernel puts into one
    assert (4096 - 16 - 4) // 8 == 509  # revoke records a block
    assert 7 * 254**4 > 1 << 32  # extents: depth 4 suffices when full
    assert 4 * 127**5 > 1 << 32  # and depth 5 when half full
    record = (16 + 255 + 7) // 8 * 8
    assert record == 272 and 4064 // record == 14
    assert 8 * record < 4064  # a bucket of eight equal hashes fits one leaf
    assert 2 * 4064 >= 4095  # the longest symlink fits two blocks
    assert (2**32 - 1) * BS == 17592186040320

    def stride(d):
        return div_up(4 * d, 16) * 16

    assert stride(2048) == 8192 and stride(1) == 16 and stride(128) == 512 and stride(50) == 208
    assert (1 << 43) // 8192 == 1 << 30 and (1 << 31) // 254 < 1 << 31
    for d in (1, 50, 128, 384, 768, 1536, 2048):
        print(f"  dimension {d:4}: stride {stride(d):4}, {16256 // (8 + 4 * d):4} vectors a batch call")
    ns = (1 << 63) // 10**9
    assert ns == 9223372036  # seconds: years 1677 to 2262


# --------------------------------------------------------------- vexfs.h
UAPI = {
    "vexfs_ioc_info": (
        112,
        {
            "uapi_version": 0,
            "format_version": 4,
            "features": 8,
            "uuid": 16,
            "label": 32,
            "block_size": 64,
            "dimension_max": 68,
            "k_max": 72,
            "batch_bytes": 76,
            "reserved": 80,
        },
    ),
    "vexfs_ioc_collection": (
        64,
        {"dimension": 0, "metric": 4, "element": 8, "flags": 12, "count": 16, "slots": 24, "stride": 32, "dir_ino": 40, "reserved": 48},
    ),
    "vexfs_ioc_batch": (16320, {"dimension": 0, "count": 4, "done": 8, "error": 12, "flags": 16, "mode": 20, "reserved": 24, "data": 64}),
    "vexfs_hit": (16, {"ino": 0, "distance": 8}),
    "vexfs_ioc_search": (
        16320,
        {"dimension": 0, "k": 4, "flags": 8, "found": 12, "after_ino": 16, "after_distance": 24, "scanned": 32, "reserved": 40, "u": 64},
    ),
}
R, W = 2, 1
NUMBERS = {
    "VEXFS_IOC_INFO": (R, 0xE0, "vexfs_ioc_info"),
    "VEXFS_IOC_COLLECTION_CREATE": (W, 0xE1, "vexfs_ioc_collection"),
    "VEXFS_IOC_COLLECTION_GET": (R, 0xE2, "vexfs_ioc_collection"),
    "VEXFS_IOC_VECTOR_SET": (R | W, 0xE3, "vexfs_ioc_batch"),
    "VEXFS_IOC_VECTOR_ADD": (R | W, 0xE4, "vexfs_ioc_batch"),
    "VEXFS_IOC_VECTOR_GET": (R | W, 0xE5, "vexfs_ioc_batch"),
    "VEXFS_IOC_VECTOR_REMOVE": (R | W, 0xE6, "vexfs_ioc_batch"),
    "VEXFS_IOC_SEARCH": (R | W, 0xE7, "vexfs_ioc_search"),
}


def check_header():
    lines = ["#include <stddef.h>", '#include "vexfs.h"']
    for name, (size, fields) in UAPI.items():
        assert size < 16384
        lines.append(f'_Static_assert(sizeof(struct {name}) == {size}, "{name}");')
        lines += [f'_Static_assert(offsetof(struct {name}, {f}) == {o}, "{name}.{f}");' for f, o in fields.items()]
    for name, (way, nr, struct) in NUMBERS.items():
        value = way << 30 | UAPI[struct][0] << 16 | ord("V") << 8 | nr
        print(f"  {name:28} {value:#010x}")
        lines.append(f'_Static_assert({name} == {value}u, "{name}");')
    with tempfile.TemporaryDirectory() as tmp:
        source = pathlib.Path(tmp) / "check.c"
        source.write_text("\n".join(lines) + "\n")
        for bits in ("-m64", "-m32"):
            cmd = [
                "gcc",
                bits,
                "-std=c11",
                "-Wall",
                "-Wextra",
                "-Wpadded",
                "-Werror",
                f"-I{HERE.parent / 'kernel/include/uapi'}",
                "-fsyntax-only",
                str(source),
            ]
            done = subprocess.run(cmd, capture_output=True, text=True)
            if bits == "-m32" and "No such file" in done.stderr:
                print("  -m32: not checked, its headers are not installed")
                continue
            assert done.returncode == 0, done.stderr
            print(f"  vexfs.h compiled with {bits}: sizes, offsets and numbers agree")


def main():
    for title, check in (
        ("structures", check_structs),
        ("hashes", check_hashes),
        ("geometry", check_geometry),
        ("limits", check_limits),
        ("vexfs.h", check_header),
    ):
        print(title)
        check()
    print("all agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
