# SPDX-License-Identifier: Apache-2.0
"""Proves the first promise of the README: on a fresh machine, a fresh clone builds with nothing done by hand.

    sudo .venv/bin/python tests/fresh_machine.py [--log FILE] [TASK...]     (default: build verify)

A throwaway Debian 12 root with git, python3 and ca-certificates only, plus this machine's Rust toolchain, read-only.
In it a clone of the project (the working tree as it is, uncommitted files included) runs `./inv TASK...` twice: the
first call sets up what it needs, the second must set up nothing. Needs root and the network; takes some minutes.
Mounts live in a namespace of their own and vanish with it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from ci import leftovers, process  # noqa: E402
from ci.errors import InfrastructureError, ProductFailure, UsageError, VexciError  # noqa: E402
from ci.model import EXIT_CODES  # noqa: E402

SUITE = "bookworm"
PACKAGES = ("git", "python3", "ca-certificates")
ROOT_SECONDS = 600.0
RUN_SECONDS = 2400.0
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
# What says how this machine reaches the package archives; nothing else of its environment goes in.
PASSED = ("PIP_", "SSL_", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "CURL_CA_BUNDLE", "REQUESTS_CA")

# $1 root, $2 this machine's rustup folder, $3 its cargo programs; then the environment and the command for inside.
ENTER = """
root=$1 rustup=$2 cargo=$3
shift 3
mount --bind "$root" "$root"  # so that / inside is a mount, as on any machine: unshare insists on it
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount --bind "$rustup" "$root/root/.rustup"
mount -o remount,bind,ro "$root/root/.rustup"
mount --bind "$cargo" "$root/root/.cargo/bin"
mount -o remount,bind,ro "$root/root/.cargo/bin"
code=0
# No exec: this shell is process 1 in here and must reap what daemons leave, as an init does. libvirt waits for that.
chroot "$root" /usr/bin/env -i -C /root/project "$@" || code=$?
exit "$code"
"""


def make_root(root: Path, log: Path) -> None:
    """A minimal Debian with the packages that a fresh machine has, reaching the archives as this machine does."""
    argv = ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)]
    done = process.run(argv, limits=process.Limits(ROOT_SECONDS), log=log)
    if not done.ok:
        raise InfrastructureError(f"mmdebstrap: {done.how}", evidence=(log,))
    for name in ("etc/resolv.conf", CERTIFICATES):
        (root / name).unlink(missing_ok=True)
        shutil.copyfile(Path("/") / name, root / name)
    for folder in ("root/.rustup", "root/.cargo/bin"):
        (root / folder).mkdir(parents=True)


def clone_into(root: Path, scratch: Path) -> None:
    """A clone with one commit of the working tree, made in a repository aside; the project's own is only read."""
    listed = process.output(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=PROJECT)
    source = scratch / "source"
    for name in filter(None, listed.split("\0")):
        origin, copy = PROJECT / name, source / name
        if origin.is_symlink() or origin.exists():  # a deleted file is still listed while its deletion is uncommitted
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(origin, copy, follow_symlinks=False)
    identity = ("-c", "user.name=fresh", "-c", "user.email=fresh@localhost")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*identity, "commit", "-q", "-m", "as it is")):
        process.output(["git", *words], cwd=source)
    process.output(["git", "clone", "-q", str(source), str(root / "root/project")], deadline=120)
    shutil.rmtree(source)


def run_inside(root: Path, argv: list[str], log: Path) -> process.Completed:
    """Run a command in the clone, in namespaces of its own: mounts and processes end with it."""
    rustup = Path(os.environ.get("RUSTUP_HOME") or Path.home() / ".rustup")
    cargo = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo") / "bin"
    if not rustup.is_dir() or not cargo.is_dir():
        raise UsageError("this machine has no Rust toolchain of rustup to lend", hint="./inv doctor says how to get it")
    environment = {key: value for key, value in os.environ.items() if key.startswith(PASSED)}
    environment |= {"HOME": "/root", "PATH": "/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", ENTER, "enter"]
    words = [*unshare, str(root), str(rustup), str(cargo), *(f"{key}={value}" for key, value in environment.items()), *argv]
    return process.run(words, limits=process.Limits(RUN_SECONDS), log=log, what=" ".join(argv))


def prove(tasks: list[str], log: Path) -> None:
    """Run `./inv TASK...` twice in a fresh root; raises where it fails, or where the second call sets something up."""
    if os.geteuid() != 0:
        raise UsageError("a fresh root takes root", hint=f"sudo {sys.executable} {' '.join(sys.argv)}")
    # The folder of scratch files may lie on a small tmpfs; a root with compilers takes over a gigabyte.
    scratch = Path(tempfile.mkdtemp(prefix="vexci-fresh-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    with leftovers.entry("folder", scratch.name, {"path": str(scratch)}):
        try:
            root = scratch / "root"
            make_root(root, log)
            clone_into(root, scratch)
            for turn in ("first", "second"):
                said = log.with_name(f"{log.stem}-{turn}{log.suffix}")
                done = run_inside(root, ["./inv", *tasks], said)
                print(f"{turn} ./inv {' '.join(tasks)}: {done.how} after {done.seconds:.1f} s ({said})", flush=True)
                judge(turn, done)
        finally:
            inside = [row for row in Path("/proc/self/mountinfo").read_text().splitlines() if f" {scratch}" in row]
            if inside:  # never remove through a mount: it could be this machine's /dev
                raise InfrastructureError(f"mounts are left below {scratch}; it is not removed", hint="\n".join(inside))
            shutil.rmtree(scratch)


def judge(turn: str, done: process.Completed) -> None:
    """The first call may set up, the second may not; both must pass."""
    text = done.text()
    if not done.ok:
        tail = "\n".join(text.splitlines()[-30:])
        raise ProductFailure(f"the {turn} call in the fresh root: {done.how}", hint=tail)
    set_up = [line for line in text.splitlines() if line.startswith("vexci: ")]
    if turn == "second" and set_up:
        raise ProductFailure("the second call set something up again", hint="\n".join(set_up))
    if turn == "first" and not set_up:
        raise ProductFailure("the first call set nothing up: this root was not fresh, and nothing was proved")


def main() -> int:
    """Exit code as the tool's own: 0, 1 where the promise is broken, 2 and 3 where it could not be tried."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--log", type=Path, default=None, help="where the output goes (default: a file in .runs)")
    parser.add_argument("tasks", nargs="*", default=["build", "verify"], help="tasks to run (default: build verify)")
    options = parser.parse_args()
    log = (options.log or PROJECT / ".runs" / "fresh-machine.log").absolute()
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        for old in log.parent.glob(f"{log.stem}*{log.suffix}"):
            old.unlink()
        prove(options.tasks, log)
    except VexciError as error:
        print(f"{error.verdict}: {error}\n{error.hint}", file=sys.stderr)
        return EXIT_CODES[error.verdict]
    print("a fresh clone on a fresh machine does it, with nothing done by hand")
    return 0


if __name__ == "__main__":
    sys.exit(main())
