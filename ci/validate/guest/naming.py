# SPDX-License-Identifier: Apache-2.0
"""Cases about names: directories, listing, rename, links, removal."""

from __future__ import annotations

import errno
import os
import stat

from .context import Context
from .engine import Table
from .fileops import absent, folder, names, pattern, read, same, write

TABLE = Table()
case = TABLE.case

MANY = 200


@case("mkdir")
def _mkdir(t: Context) -> None:
    path = folder(t, "mkdir")
    t.check(stat.S_ISDIR(os.stat(path).st_mode), f"{path} is not a directory after mkdir")
    t.refuses(f"mkdir {path} again", lambda: os.mkdir(path), errno.EEXIST)
    t.equal(f"names in {path}", names(t, path), [])
    t.check("mkdir" in names(t, t.plan.mountpoint), f"{t.plan.mountpoint} does not list mkdir")
    t.op("mkdir below a directory that does not exist")
    t.refuses("mkdir below nothing", lambda: os.mkdir(t.path("nothing", "here")), errno.ENOENT)


@case("create")
def _create(t: Context) -> None:
    path = t.path("create")
    t.op(f"create {path}")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))
    info = os.stat(path)
    t.check(stat.S_ISREG(info.st_mode), f"{path} is not a regular file")
    t.equal(f"mode of {path}", oct(stat.S_IMODE(info.st_mode)), oct(0o640))
    t.equal(f"size of {path}", info.st_size, 0)
    t.op(f"create {path} exclusively again")
    t.refuses("O_EXCL on an existing file", lambda: os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY), errno.EEXIST)
    absent(t, t.path("never-created"))


@case("list")
def _list(t: Context) -> None:
    path = folder(t, "list")
    for name in ("b", "a", "ünïcode", "x" * 200):
        write(t, os.path.join(path, name), name.encode())
    os.mkdir(os.path.join(path, "sub"))
    t.equal(f"names in {path}", names(t, path), sorted(["a", "b", "sub", "ünïcode", "x" * 200]))
    t.op(f"scan {path}")
    with os.scandir(path) as entries:
        kinds = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    t.equal("which entries are directories", [name for name, directory in kinds.items() if directory], ["sub"])
    t.op("create a name of 256 bytes")
    t.refuses("a name of 256 bytes", lambda: os.mkdir(os.path.join(path, "n" * 256)), errno.ENAMETOOLONG)


@case("rename-file")
def _rename_file(t: Context) -> None:
    old, new = t.path("rename-old"), t.path("rename-new")
    write(t, old, pattern("rename", 6000))
    inode = os.stat(old).st_ino
    t.op(f"rename {old} to {new}")
    os.rename(old, new)
    absent(t, old)
    same(t, new, pattern("rename", 6000))
    t.equal("inode number over rename", os.stat(new).st_ino, inode)
    listed = names(t, t.plan.mountpoint)
    t.check("rename-new" in listed and "rename-old" not in listed, f"after rename the directory lists {listed}")


@case("rename-over")
def _rename_over(t: Context) -> None:
    path = folder(t, "rename-over")
    source, target = os.path.join(path, "source"), os.path.join(path, "target")
    write(t, source, pattern("source", 3000))
    write(t, target, pattern("target", 9000))
    t.op(f"rename {source} over {target}")
    os.rename(source, target)
    same(t, target, pattern("source", 3000))
    t.equal(f"names in {path}", names(t, path), ["target"])
    t.equal("links of the target", os.stat(target).st_nlink, 1)


@case("rename-directory")
def _rename_directory(t: Context) -> None:
    path = folder(t, "rename-directory")
    one, two = os.path.join(path, "one"), os.path.join(path, "two")
    os.mkdir(one)
    os.mkdir(two)
    write(t, os.path.join(one, "file"), pattern("inside", 2000))
    moved = os.path.join(two, "moved")
    t.op(f"rename {one} to {moved}")
    os.rename(one, moved)
    absent(t, one)
    same(t, os.path.join(moved, "file"), pattern("inside", 2000))
    t.equal(f"names in {path}", names(t, path), ["two"])
    t.op("rename a directory into itself")
    t.refuses("rename into itself", lambda: os.rename(two, os.path.join(two, "loop")), errno.EINVAL)
    t.op("rename a directory over one that is not empty")
    os.mkdir(os.path.join(path, "three"))
    t.refuses("rename over a full directory", lambda: os.rename(os.path.join(path, "three"), two), errno.ENOTEMPTY, errno.EEXIST)


@case("symlink")
def _symlink(t: Context) -> None:
    path = folder(t, "symlink")
    link = os.path.join(path, "link")
    write(t, os.path.join(path, "file"), pattern("symlink", 1500))
    t.op(f"symlink {link}")
    os.symlink("file", link)
    t.equal(f"readlink {link}", os.readlink(link), "file")
    t.check(stat.S_ISLNK(os.lstat(link).st_mode), f"lstat of {link} does not say symlink")
    t.equal(f"bytes through {link}", read(t, link), pattern("symlink", 1500))
    os.symlink("nowhere", os.path.join(path, "dangling"))
    t.op("follow a dangling symlink")
    t.refuses("stat of a dangling link", lambda: os.stat(os.path.join(path, "dangling")), errno.ENOENT)


@case("hardlink")
def _hardlink(t: Context) -> None:
    path = folder(t, "hardlink")
    one, two = os.path.join(path, "one"), os.path.join(path, "two")
    write(t, one, pattern("hardlink", 2500))
    t.op(f"link {one} to {two}")
    os.link(one, two)
    t.equal("links after link", os.stat(one).st_nlink, 2)
    t.equal("inode of both names", os.stat(two).st_ino, os.stat(one).st_ino)
    write(t, two, b"changed", os.O_TRUNC)
    same(t, one, b"changed")
    t.op(f"unlink {one}")
    os.unlink(one)
    same(t, two, b"changed")
    t.equal("links after unlink", os.stat(two).st_nlink, 1)


@case("unlink")
def _unlink(t: Context) -> None:
    path = folder(t, "unlink")
    file = os.path.join(path, "file")
    write(t, file, pattern("unlink", 100))
    t.op(f"unlink {file}")
    os.unlink(file)
    absent(t, file)
    t.equal(f"names in {path}", names(t, path), [])
    t.op(f"unlink {file} again")
    t.refuses("unlink of nothing", lambda: os.unlink(file), errno.ENOENT)
    t.op(f"unlink the directory {path}")
    t.refuses("unlink of a directory", lambda: os.unlink(path), errno.EISDIR, errno.EPERM)


@case("rmdir")
def _rmdir(t: Context) -> None:
    path = folder(t, "rmdir")
    sub = os.path.join(path, "sub")
    os.mkdir(sub)
    t.op(f"rmdir {path}, which is not empty")
    t.refuses("rmdir of a full directory", lambda: os.rmdir(path), errno.ENOTEMPTY)
    t.equal(f"names in {path}", names(t, path), ["sub"])
    t.op(f"rmdir {sub}")
    os.rmdir(sub)
    absent(t, sub)
    t.op(f"rmdir {path}")
    os.rmdir(path)
    absent(t, path)


@case("many-files")
def _many_files(t: Context) -> None:
    path = folder(t, "many")
    wanted = [f"file-{index:03}" for index in range(MANY)]
    t.op(f"create {MANY} files in {path}")
    for name in wanted:
        with open(os.path.join(path, name), "wb") as file:
            file.write(name.encode())
    t.drop_caches()
    listed = names(t, path)
    missing, extra = sorted(set(wanted) - set(listed)), sorted(set(listed) - set(wanted))
    t.check(not missing and not extra, f"{path} lists {len(listed)} names, expected {MANY}; missing {missing[:3]}, extra {extra[:3]}")
    t.equal("names listed twice", len(listed), MANY)
    t.op(f"read {MANY} files in {path}")
    for name in wanted:
        with open(os.path.join(path, name), "rb") as file:
            t.equal(f"content of {name}", file.read(), name.encode())
    t.op(f"unlink every second of {MANY} files")
    for name in wanted[::2]:
        os.unlink(os.path.join(path, name))
    t.equal("names after unlinking every second", names(t, path), wanted[1::2])
