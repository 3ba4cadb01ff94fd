# SPDX-License-Identifier: Apache-2.0
"""Vector workloads: one process measures one engine on one data set. It runs on the Python of the extras (ci/bench/extras.py),
out of the payload of ci/bench, so that the payload's hash names this code too.

engine.py   what an engine must offer; engines/ has one adapter a file
data.py     the data sets, with the exact neighbours that recall is computed from
measure.py  the phases: load, single inserts, search, threads, delete, reopen, memory, disk
command.py  what the payload is asked: `vectors …`, `vectors-data …`
"""
