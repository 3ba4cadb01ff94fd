# SPDX-License-Identifier: Apache-2.0
"""The tasks of vexci, one file for each collection: flags in, the pipeline called; tasks.py names them.

The rest of ci is imported inside the tasks, so that `./inv --list` stays as quick as Invoke itself.
"""
