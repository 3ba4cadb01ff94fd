# SPDX-License-Identifier: Apache-2.0
"""Machines of a farm. A project of its own stands for the tool's tree: its ./inv writes the record of a cell at once, so that what is
tested is the way there and back. The one thing that is not real is the network: `command=` names a program that takes ssh's place."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ci.errors import UsageError
from ci.manifest import MachineSpec
from ci.pipeline import hosts
from tests import tool
from tests.integration.test_vm_uris import sshd

pytestmark = pytest.mark.integration
SYSTEM = Path(__file__).parent.parent / "libvirt_system.sh"

# What takes ssh's place: drops the options and the host, and runs the command at the home of "the other machine".
SSH = """\
#!/bin/sh
while [ "${1#-}" != "$1" ]; do
    case $1 in -o | -i | -p) shift 2 ;; *) shift ;; esac
done
[ "$1" != "unknown.example" ] || { echo "ssh: Could not resolve hostname unknown.example" >&2; exit 255; }
shift
cd "$HOME_THERE" && HOME=$HOME_THERE exec sh -c "$*"
"""
INV = """\
#!/usr/bin/env python3
import hashlib, json, os, pathlib, sys, time
cell = sys.argv[sys.argv.index("--cell") + 1]
busy = pathlib.Path("busy")
if busy.exists():
    sys.exit("another cell runs in this clone")
busy.touch()
time.sleep(0.3)
kernel, suite, shard = cell.split(":")[:3]
first = int(shard.split("/")[0]) == 1
artifact = "module" if first and shard != "1/1" else "daemon" if shard != "1/1" else "module,daemon"
tries = pathlib.Path("..", f"tries-{cell.replace(':', '-').replace('/', 'of')}")
tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
verdict = {"stress": "fail"}.get(suite, "pass")
if suite == "posix" and len(tries.read_text()) == 1:
    verdict = "infra"
if suite == "crash":
    busy.unlink()
    sys.exit(3)
id = f"20261129T{time.time_ns() % 1000000:06}Z-{os.getpid():06}"
folder = pathlib.Path(".runs", id)
folder.mkdir(parents=True)
(folder / "log.txt").write_text("log")
evidence = [{"kind": "log", "path": "log.txt", "sha256": hashlib.sha256(b"log").hexdigest()}]
rows = [{"suite": suite, "artifact": name, "kernel": kernel, "verdict": verdict, "detail": "", "minimum": 1, "seconds": 1.0,
         "cases": [{"id": "one", "verdict": verdict, "detail": "", "seconds": 1.0}], "evidence": evidence} for name in artifact.split(",")]
stages = [{"name": "cell", "results": {"cell": cell}, "checks": []}, {"name": "validate", "results": {"suites": rows}, "checks": []}]
commit = os.popen("git rev-parse HEAD").read().strip()
record = {"schema": 1, "id": id, "commit": commit, "verdict": verdict, "detail": os.environ.get("OF_PROFILE", ""), "artifacts": [],
          "stages": stages}
(folder / "record.json").write_text(json.dumps(record))
os.symlink(id, ".runs/latest")
busy.unlink()
sys.exit({"pass": 0, "fail": 1, "infra": 3}[verdict])
"""
MANIFEST = """\
version: 1
project: demo
artifacts:
  module: {{builder: kbuild, folder: kernel, module: demo, license: GPL, kernels: [k]}}
  daemon: {{builder: cargo, folder: fuse, binary: demo}}
kernels: {{k: {{provider: apt, pattern: 6.1-cloud}}}}
images: {{i: {{folder: image}}}}
machines:
{machines}
suites:
  smoke: {{artifacts: [module, daemon], minimum: 1, deadline: 9, operation_deadline: 1}}
"""


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(root), "-c", "user.name=n", "-c", "user.email=n@localhost", *words], check=True, capture_output=True)


Project = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Makes the project with these machines, committed."""
    for name in ("ssh", "there", "cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "ssh/ssh").write_text(SSH)
    (tmp_path / "ssh/ssh").chmod(0o755)
    monkeypatch.setenv("HOME_THERE", str(tmp_path / "there"))
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path / "cache"))

    def make(**machines: str) -> Path:
        root = tmp_path / "project"
        for name in ("kernel", "fuse", "image"):
            (root / name).mkdir(parents=True)
            (root / name / ("Cargo.toml" if name == "fuse" else "Kbuild" if name == "kernel" else "image.yaml")).write_text("")
        rows = [f"  {name}: {{image: i, kernel: k, {text}}}" for name, text in machines.items()]
        (root / "vexci.yaml").write_text(MANIFEST.format(machines="\n".join(rows)))
        (root / "inv").write_text(INV)
        (root / "inv").chmod(0o755)
        (root / ".gitignore").write_text(".runs\n")
        git(tmp_path, "init", "-q", str(root))
        git(root, "add", "-A")
        git(root, "commit", "-qm", "one")
        return root

    return make


def farm(root: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    done = tool.inv("ci.farm", *words, config=root / "vexci.yaml")
    latest = root / ".runs/latest/record.json"
    return done, json.loads(latest.read_text()) if latest.exists() else {}


def stage(record: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in record["stages"] if row["name"] == name)
    return found


def suites(root: Path, *names: str) -> None:
    """Give the project other suites."""
    row = "  {}: {{artifacts: [module, daemon], minimum: 1, deadline: 9, operation_deadline: 1}}"
    text = (root / "vexci.yaml").read_text().partition("suites:\n")[0]
    (root / "vexci.yaml").write_text(text + "suites:\n" + "\n".join(map(row.format, names)) + "\n")
    git(root, "commit", "-qam", "other suites")


REMOTE = "uri: 'qemu+ssh://ci@big.example:2222/system?command={ssh}', slots: 2"


def test_cells_run_here_and_there_and_one_verdict_comes_of_it(project: Project, tmp_path: Path) -> None:
    root = project(here="slots: 1", big=REMOTE.format(ssh=tmp_path / "ssh/ssh"))
    suites(root, "smoke", "posix", "vectors")
    done, record = farm(root, "--shards", "2")
    assert done.returncode == 0, done.stdout
    rows = stage(record, "farm")["results"]["cells"]
    assert {row["machine"] for row in rows} == {"here", "big"}
    assert len({row["cell"] for row in rows}) == 6 and record["verdict"] == "pass"
    assert sorted(row["cell"] for row in rows if row["verdict"] == "infra") in (
        [],
        ["k:posix:1/2"],
        ["k:posix:2/2"],
        ["k:posix:1/2", "k:posix:2/2"],
    )
    assert len(stage(record, "validate")["results"]["suites"]) == 6
    for row in rows:
        assert (root / ".runs/latest/shards" / row["record"] / "log.txt").is_file(), "the evidence came, too"


def test_a_machine_that_ssh_reaches_has_what_its_profile_sets(project: Project, tmp_path: Path) -> None:
    (tmp_path / "there/.profile").write_text("echo Welcome\nexport OF_PROFILE=set\n")
    root = project(big=REMOTE.format(ssh=tmp_path / "ssh/ssh"))
    done, record = farm(root)
    assert done.returncode == 0, done.stdout
    (row,) = stage(record, "farm")["results"]["cells"]
    assert json.loads((root / ".runs/latest/shards" / row["record"] / "record.json").read_text())["detail"] == "set"


def test_two_machines_that_are_one_host_run_their_cells_in_clones_of_their_own(project: Project) -> None:
    root = project(here="slots: 1", also="slots: 1")
    suites(root, "smoke", "vectors", "differential")
    done, record = farm(root)
    assert done.returncode == 0, done.stdout
    rows = stage(record, "farm")["results"]["cells"]
    assert stage(record, "farm")["results"]["lost"] == {} and {row["machine"] for row in rows} == {"here", "also"}


def test_two_farms_at_once_wait_for_each_other(project: Project, tmp_path: Path) -> None:
    """The second one is of another commit; both find their own in the one repository of that machine."""
    root = project(here="slots: 1")
    suites(root, "smoke", "vectors")
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(root), str(other))
    git(other, "commit", "-q", "--allow-empty", "-m", "another")
    began = tool.start("ci.farm", config=other / "vexci.yaml", log=tmp_path / "other.log")
    done, record = farm(root)
    assert done.returncode == 0, done.stdout
    assert began.wait(120) == 0, (tmp_path / "other.log").read_text()
    theirs = json.loads((other / ".runs/latest/record.json").read_text())
    for mine in (record, theirs):
        assert len(stage(mine, "farm")["results"]["cells"]) == 2 and stage(mine, "farm")["results"]["lost"] == {}
    assert record["commit"] != theirs["commit"]


def test_a_failure_of_the_product_is_not_tried_again_and_is_the_verdict(project: Project) -> None:
    root = project(here="slots: 2")
    suites(root, "smoke", "stress")
    done, record = farm(root)
    assert done.returncode == 1, done.stdout
    assert sorted(row["cell"] for row in stage(record, "farm")["results"]["cells"]) == ["k:smoke:1/1", "k:stress:1/1"]
    assert record["verdict"] == "fail"


def test_a_machine_that_is_not_there_leaves_its_cells_to_the_others(project: Project, tmp_path: Path) -> None:
    gone = f"uri: 'qemu+ssh://unknown.example/system?command={tmp_path / 'ssh/ssh'}', slots: 3"
    root = project(here="slots: 1", gone=gone)
    done, record = farm(root, "--shards", "2")
    assert done.returncode == 0, done.stdout
    assert "Could not resolve hostname" in stage(record, "farm")["results"]["lost"]["gone"]
    done, record = farm(root, "--machine", "gone")
    assert done.returncode == 3 and "no machine is left" in done.stdout, done.stdout


def test_a_cell_that_leaves_no_record_did_not_pass(project: Project) -> None:
    root = project(here="slots: 1")
    suites(root, "crash", "smoke")
    done, record = farm(root)
    assert done.returncode == 3 and "left no record" in done.stdout, done.stdout
    assert record["verdict"] == "infra"


def test_changes_that_nobody_committed_do_not_travel(project: Project) -> None:
    root = project(here="slots: 1")
    (root / "inv").write_text(INV + "# changed\n")
    done, _ = farm(root)
    assert done.returncode == 2 and "only a commit travels" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("machine", "words", "said"),
    [("cpus: 2", (), "no machine has slots"), ("slots: 1", ("--machine", "other"), "the machine 'other' has no slots")],
)
def test_a_farm_without_such_a_machine_is_a_usage_error(project: Project, machine: str, words: tuple[str, ...], said: str) -> None:
    done, _ = farm(project(here=machine), *words)
    assert done.returncode == 2 and said in done.stdout, done.stdout


@pytest.mark.soak
def test_a_real_sshd_is_a_machine_of_a_farm_and_one_with_another_key_is_none(project: Project, tmp_path: Path) -> None:
    """OpenSSH's own server on a loopback port; a second machine's URI names a file of known hosts without that server."""
    if os.getuid() != 0:
        pytest.skip("a private sshd needs root")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    away = tmp_path / "away"
    away.mkdir()
    (away / "nobody").write_text("")
    uri = f"qemu+ssh://root@127.0.0.1:{port}/system?keyfile={away}/client_key&no_tty=1&known_hosts={away}"
    name = f"demo-{os.getpid()}"
    root = project(big=f"uri: '{uri}/known_hosts', slots: 2", stranger=f"uri: '{uri}/nobody', slots: 1")
    text = (root / "vexci.yaml").read_text().replace("project: demo", f"project: {name}")
    (root / "vexci.yaml").write_text(text)
    git(root, "commit", "-qam", "a name of its own")
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    argv = [*unshare, "sh", str(SYSTEM), str(away), str(sshd(away)), str(port), str(tool.ROOT / "inv"), "ci.farm", "--shards", "2"]
    done = subprocess.run(argv, env=tool.environment(root / "vexci.yaml"), text=True, stdout=-1, stderr=subprocess.STDOUT, timeout=280)
    subprocess.run(["rm", "-rf", str(Path.home() / hosts.PLACE / name)], check=True)
    assert done.returncode == 0, done.stdout
    record = json.loads((root / ".runs/latest/record.json").read_text())
    assert {row["machine"] for row in stage(record, "farm")["results"]["cells"]} == {"big"}
    assert "Host key verification failed" in stage(record, "farm")["results"]["lost"]["stranger"], done.stdout


class TestUris:
    def host(self, uri: str) -> hosts.Host:
        (found,) = hosts.hosts([MachineSpec("m", "i", "k", uri=uri, slots=2), MachineSpec("none", "i", "k")], "demo")
        return found

    def test_the_host_is_reached_as_libvirt_reaches_it(self) -> None:
        found = self.host("qemu+ssh://ci@big.example:2222/system?keyfile=/keys/id&no_tty=1")
        assert found.shell[-3:] == ("-p", "2222", "ci@big.example") and found.shell[5:7] == ("-i", "/keys/id")
        assert "StrictHostKeyChecking=yes" in found.shell and "BatchMode=yes" in found.shell
        assert found.url == "ssh://ci@big.example:2222/~/.cache/vexci/farm/demo/project.git"

    @pytest.mark.parametrize(
        ("uri", "said"),
        [
            ("qemu:///system", "reached by SSH"),
            ("qemu+tcp://big.example/system", "reached by SSH"),
            ("qemu+ssh:///system", "reached by SSH"),
            ("qemu+ssh://big.example/system?no_verify=1", "no_verify"),
        ],
    )
    def test_what_leads_nowhere_or_trusts_everybody_is_refused(self, uri: str, said: str) -> None:
        with pytest.raises(UsageError, match=said):
            self.host(uri)


def test_the_stand_in_for_the_tool_is_a_program() -> None:
    compile(textwrap.dedent(INV), "inv", "exec")
