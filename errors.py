# SPDX-License-Identifier: Apache-2.0
"""The one exception tree: every error a user can cause, with the exit code the command line gives it.

Exit codes: 0 all gates passed, 1 a gate or a comparison failed, 2 configuration or usage, 3 the network is
not supported or does not fit, 4 the environment lacks something, 5 internal error (a bug), 6 bad input data,
130 interrupted, 143 ended by SIGTERM.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

MOST_TOLD = 200
"""Violations that one message tells; of more it says how many."""


@dataclass(frozen=True)
class Issue:
    """One violated rule. Several are collected and raised together."""

    rule: str
    where: str
    got: str
    limit: str
    hint: str

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}: got {self.got}, limit {self.limit}. {self.hint}"


class SpikefoldError(Exception):
    """Base of all errors that a user can cause.

    Args:
        what: what failed, one sentence.
        where: the file, layer path or configuration key.
        hint: what to do about it.
        issues: every violated rule, where more than one can be.
    """

    exit_code = 5
    code = "E-INTERNAL"

    def __init__(self, what: str, *, where: str = "", hint: str = "", issues: Iterable[Issue] = ()) -> None:
        self.what, self.where, self.hint, self.issues = what, where, hint, tuple(issues)
        super().__init__(what)

    def __str__(self) -> str:
        lines = [f"{self.code}: {self.what}"]
        if self.where:
            lines.append(f"  where: {self.where}")
        lines += [f"  - {issue}" for issue in self.issues[:MOST_TOLD]]
        if len(self.issues) > MOST_TOLD:
            lines.append(f"  - and {len(self.issues) - MOST_TOLD:,} more")
        if self.hint:
            lines.append(f"  to do: {self.hint}")
        return "\n".join(lines)


class MismatchError(SpikefoldError):
    """Two runners that must agree spike for spike do not, or a gate failed."""

    exit_code, code = 1, "E-MISMATCH"


class ConfigError(SpikefoldError):
    """A configuration key, value or command line argument is wrong."""

    exit_code, code = 2, "E-CONFIG"


class UnsupportedError(SpikefoldError):
    """The network holds something that the chosen target cannot carry, or does not fit it."""

    exit_code, code = 3, "E-UNSUPPORTED"


class NetworkError(UnsupportedError):
    """A network description breaks one of its own invariants."""

    code = "E-NETWORK"


class EnvironmentLacksError(SpikefoldError):
    """A package, device or interpreter that the step needs is missing or broken."""

    exit_code, code = 4, "E-ENVIRONMENT"


class DataError(SpikefoldError):
    """A recording, data set or other input file is unusable."""

    exit_code, code = 6, "E-DATA"


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that suggests the closest known name, or lists them all. Never applied by itself."""
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(options)}."
