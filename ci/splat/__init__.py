# SPDX-License-Identifier: Apache-2.0
"""Finds in a kernel's log what the kernel says is wrong with it (failure modes K1-K8).

Only what the kernel itself says counts: a message must begin with the pattern. Text that a program logs
does not (`systemd[1]: … BUG: …`), nor a `Call Trace:` that somebody asked for with sysrq.
"""

from __future__ import annotations

from ci.splat.decode import Decoder, decode, decoders, failure
from ci.splat.scan import Splat, last_step, scan, worst_verdict

__all__ = ["Decoder", "Splat", "decode", "decoders", "failure", "last_step", "scan", "worst_verdict"]
