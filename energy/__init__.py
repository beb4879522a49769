# SPDX-License-Identifier: Apache-2.0
"""Exact operation counts, and what they cost under a sourced technology profile.

``spikefold.energy.profile(model, data)`` counts a running PyTorch network; it is loaded on first use, since it needs
torch and nothing else here does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spikefold.energy.live.profiler import profile as profile

__all__ = ["profile"]


def __getattr__(name: str) -> object:
    if name == "profile":
        from spikefold.energy.live.profiler import profile

        return profile
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
