# SPDX-License-Identifier: Apache-2.0
"""ChromaDB, embedded in the process that asks, and as its own server on a free loopback port."""

from __future__ import annotations

from ci.bench.system import DURABLE, SERVER, System

# Written out, because the server's own command line is a script whose place depends on the environment.
_RUN = "import sys; from chromadb.cli.cli import app; sys.argv[0] = 'chroma'; sys.exit(app())"
# Runs it, and again at SIGHUP: another effort is only read at a start. Whatever else ends it ends this, with the same number.
_KEEP = """
again=1
trap 'again=1; kill -s TERM $server' HUP
trap 'again=' TERM
while [ "$again" ]; do
  again=
  "$@" & server=$!
  wait $server; status=$?
  while kill -s 0 $server 2>&-; do wait $server; status=$?; done
done
exit $status
"""
_URL = "http://127.0.0.1:{port}"
_ALIVE = f"import urllib.request as r; r.urlopen('{_URL}/api/v2/heartbeat', timeout=5).read()"

EMBEDDED_SYSTEM = System(name="chroma", filesystem="", mount=(), engine="chroma", durability=DURABLE, only_here=True)
SERVER_SYSTEM = System(
    name="chroma-server",
    filesystem="",
    mount=(
        "sh",
        "-c",
        _KEEP,
        "sh",
        "{python}",
        "-c",
        _RUN,
        "run",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
        "--path",
        "{mountpoint}",
    ),
    foreground=True,
    ready=("{python}", "-c", _ALIVE),
    engine="chroma-server",
    url=_URL,
    access=SERVER,
    durability=DURABLE,
    only_here=True,
)
