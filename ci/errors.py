# SPDX-License-Identifier: Apache-2.0
"""The three families of errors, each with its verdict; everything else that is raised is a bug in the tool."""

from __future__ import annotations

from pathlib import Path

from ci.model import Verdict


class VexciError(Exception):
    """An expected error: one clear sentence, where it is, and the way out.

    `evidence` are files that a person can open to see more.
    """

    verdict = Verdict.INFRA

    def __init__(self, message: str, *, hint: str = "", where: str = "", evidence: tuple[Path, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where
        self.evidence = evidence

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class UsageError(VexciError):
    """The request or the configuration is wrong; nothing was started (exit 2)."""

    verdict = Verdict.USAGE


class ProductFailure(VexciError):
    """The product is wrong (exit 1)."""

    verdict = Verdict.FAIL


class GuestPanic(ProductFailure):
    """The guest kernel oopsed, panicked, warned, deadlocked or leaked (exit 1)."""

    verdict = Verdict.PANIC


class Hang(ProductFailure):
    """No progress within the deadline (exit 1); `evidence` holds the diagnosis."""

    verdict = Verdict.HANG


class InfrastructureError(VexciError):
    """The machine, the network, libvirt or the disk failed; says nothing about the product (exit 3)."""

    verdict = Verdict.INFRA


class DiskFull(InfrastructureError):
    """Nothing more can be written (exit 3): whoever was making something takes away what is half-made."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM. A BaseException, so that cleaning up happens in `finally` and not in `except`."""

    def __init__(self, signal_name: str = "SIGINT") -> None:
        super().__init__(signal_name)
        self.signal_name = signal_name


_FAMILIES: dict[Verdict, type[VexciError]] = {
    family.verdict: family for family in (UsageError, ProductFailure, GuestPanic, Hang, InfrastructureError)
}


def of(verdict: Verdict, message: str, *, hint: str = "") -> VexciError:
    """The error that stands for a verdict that is not good; what has no family of its own (skip) is a failure."""
    return _FAMILIES.get(verdict, ProductFailure)(message, hint=hint)
