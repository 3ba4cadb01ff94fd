# SPDX-License-Identifier: Apache-2.0
"""Says of an artifact how it was made, in forms that others read.

facts.py      what the pipeline knows of a build
statement.py  an in-toto statement with a SLSA provenance predicate
sbom.py       a CycloneDX bill of materials
crates.py     the crates of a binary, from cargo's metadata and lock file

The heavy library for CycloneDX is imported only where a bill is really made.
"""
