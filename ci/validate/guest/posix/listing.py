# SPDX-License-Identifier: Apache-2.0
"""Reading directories: readdir(3), rewinddir, telldir, seekdir, and what holds while names come and go."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from .book import Group
from .libc import Directory
from .place import ALICE, Place, write

LISTING = Group("listing")
GROUPS = [LISTING]
_TYPES = {"f": 8, "d": 4, "l": 10, "p": 1, "s": 12, "c": 2}  # d_type of readdir(3)


_STEP = 100  # names, each of which takes milliseconds in an emulated guest with company


def _fill(t: Place, count: int) -> list[str]:
    names = [f"name-{number:05}" for number in range(count)]
    os.mkdir("d")
    for number, name in enumerate(names):
        if number % _STEP == 0:
            t.step(f"make names from {number} on")
        os.close(os.open(f"d/{name}", os.O_WRONLY | os.O_CREAT, 0o644))
    t.step(f"look at {count} names")
    return names


for _count in (0, 1, 2, 50, 129, 700):

    def _all(t: Place, count: int = _count) -> None:
        """Each name once, and `.` and `..`."""
        names = _fill(t, count)
        t.equal("the names", sorted(os.listdir("d")), names)
        stream = Directory("d")
        seen = []
        while (entry := stream.read()) is not None:
            seen.append(entry.name)
        stream.close()
        t.equal("with . and ..", sorted(seen), sorted([".", "..", *names]))

    LISTING.case(f"all-of-{_count}")(_all)


@LISTING.case("long-names")
def _long(t: Place) -> None:
    names = [f"{number:03}" + "n" * 252 for number in range(120)]
    for name in names:
        write(name, b"")
    t.equal("the names", sorted(os.listdir(".")), names)


@LISTING.case("types-and-numbers", "f d/ l->x p| s=")
def _types(t: Place) -> None:
    os.mknod("c", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    stream = Directory(".")
    seen = {}
    while (entry := stream.read()) is not None:
        seen[entry.name] = entry
    stream.close()
    for name, kind in _TYPES.items():
        t.equal(f"the number of {name}", seen[name].inode, os.lstat(name).st_ino)
        t.check(seen[name].kind in (0, kind), f"the type of {name} is {seen[name].kind}, expected {kind}, or 0 for unknown")
    t.equal("the number of .", seen["."].inode, os.stat(".").st_ino)


@LISTING.case("rewind-shows-what-is-new")
def _rewind(t: Place) -> None:
    names = _fill(t, 20)
    stream = Directory("d")
    t.equal("at first", sorted(stream.rest()), names)
    write("d/new", b"")
    os.unlink("d/name-00003")
    stream.rewind()
    t.equal("after rewinddir", sorted(stream.rest()), sorted([*names[:3], *names[4:], "new"]))
    stream.close()


@LISTING.case("tell-and-seek")
def _tell(t: Place) -> None:
    """From each position that telldir gave, the same entries follow."""
    _fill(t, 300)
    stream = Directory("d")
    order, places = [], []
    while True:
        places.append(stream.tell())
        if (entry := stream.read()) is None:
            break
        order.append(entry.name)
    t.equal("how many entries", len(order), 302)
    for at in (0, 1, 2, 150, 299, 301, 302, 7):
        stream.seek(places[at])
        entry = stream.read()
        t.equal(f"the entry at position {at}", entry.name if entry else "the end", order[at] if at < 302 else "the end")
    stream.close()


@LISTING.case("tell-and-seek-after-removals")
def _tell_removed(t: Place) -> None:
    """A position stays good where names before and behind it are removed (telldir(3))."""
    names = _fill(t, 400)
    stream = Directory("d")
    first = [entry.name for _ in range(100) if (entry := stream.read()) is not None]
    place = stream.tell()
    rest = stream.rest()
    t.step("remove names in front and behind")
    for name in [n for n in first if n not in (".", "..")] + rest[::2]:
        os.unlink(f"d/{name}")
    stream.seek(place)
    seen = stream.rest()
    stream.close()
    t.check(set(rest[1::2]) <= set(seen), "a name that was never removed is missing behind the position")
    t.check(not set(first) & set(seen), "a name from before the position came again")
    t.equal("all names", len(names), len([n for n in first if n not in (".", "..")]) + len(rest))


def _while_reading(t: Place, change: Callable[[int], None], count: int) -> list[str]:
    """Read a folder entry by entry with something done after each hundredth of them."""
    stream = Directory("d")
    seen = []
    while (entry := stream.read()) is not None:
        if entry.name not in (".", ".."):
            seen.append(entry.name)
            if len(seen) % 100 == 0 and len(seen) < 2 * count:
                t.step(f"change names after {len(seen)} entries")
                change(len(seen))
    stream.close()
    return seen


@LISTING.case("while-names-are-made")
def _making(t: Place) -> None:
    """readdir(3): new names may come or not; old ones come, and none comes twice."""
    names = _fill(t, 1000)

    def change(at: int) -> None:
        for number in range(20):
            write(f"d/more-{at}-{number}", b"")

    seen = _while_reading(t, change, 1000)
    t.equal("names that came twice", len(seen) - len(set(seen)), 0)
    t.equal("old names that are missing", sorted(set(names) - set(seen))[:5], [])


@LISTING.case("while-names-are-removed")
def _removing(t: Place) -> None:
    names = _fill(t, 1000)
    removed: list[str] = []

    def change(at: int) -> None:
        for name in names[at % 1000 : at % 1000 + 20]:
            if name not in removed:
                os.unlink(f"d/{name}")
                removed.append(name)

    seen = _while_reading(t, change, 1000)
    t.equal("names that came twice", len(seen) - len(set(seen)), 0)
    t.equal("names that were never removed and are missing", sorted(set(names) - set(seen) - set(removed))[:5], [])


@LISTING.case("while-each-name-read-is-removed")
def _rm_r(t: Place) -> None:
    """What rm -r does."""
    names = _fill(t, 700)
    stream = Directory("d")
    count = 0
    while (entry := stream.read()) is not None:
        if entry.name not in (".", ".."):
            if count % _STEP == 0:
                t.step(f"remove names after {count}")
            os.unlink(f"d/{entry.name}")
            count += 1
    stream.close()
    t.equal("removed", count, len(names))
    os.rmdir("d")


@LISTING.case("while-names-are-renamed")
def _renaming(t: Place) -> None:
    """Names that nobody touches come once each, whatever is renamed beside them."""
    names = _fill(t, 600)
    moved = set(names[::3])

    def change(at: int) -> None:
        for name in names[: 3 * (at // 10) : 3]:
            if os.path.exists(f"d/{name}"):
                os.rename(f"d/{name}", f"d/moved-{name}")

    seen = _while_reading(t, change, 600)
    quiet = [name for name in seen if name in set(names) - moved]
    t.equal("names that nobody touched", sorted(quiet), sorted(set(names) - moved))


@LISTING.case("of-a-removed-folder", "d/")
def _removed(t: Place) -> None:
    stream = Directory("d")
    os.rmdir("d")
    t.equal("names", stream.rest(), [])
    stream.close()


@LISTING.case("two-streams")
def _streams(t: Place) -> None:
    names = _fill(t, 60)
    first, second = Directory("d"), Directory("d")
    for _ in range(30):
        first.read()
    t.equal("the other stream", sorted(second.rest()), names)
    t.equal("what is left of the first", len(first.rest()) >= 30, True)
    first.close()
    second.close()


@LISTING.case("by-user-who-may-only-list", "d/:744 d/f")
def _only_list(t: Place) -> None:
    t.equal("names", t.as_user(ALICE, lambda: os.listdir("d")), ["f"])
    t.refuses("stat of one", lambda: t.as_user(ALICE, lambda: os.stat("d/f").st_size), errno.EACCES)


LISTING.refuse("file", "f", errno.ENOTDIR, lambda: os.listdir("f"))
LISTING.refuse("not-readable", "d/:311", errno.EACCES, lambda: os.listdir("d"), user=ALICE)
