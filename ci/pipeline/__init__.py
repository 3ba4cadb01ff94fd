# SPDX-License-Identifier: Apache-2.0
"""Orders the stages, hands values from one to the next, and owns the run record.

session.py    one invocation: its manifest, its record, its signals, how it ends
artifacts.py  the stages build and verify
pool.py       the stages image and vm: the guest that a run's stages share
guests.py     the stages deploy, validate and bench
whole.py      ci: everything in one run; report
person.py     what the image and vm tasks do for a person
machine.py    doctor, runs, clean
selftest.py   the project's own linters and tests
"""
