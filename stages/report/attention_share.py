# SPDX-License-Identifier: Apache-2.0
"""How much of what the network saves against its baseline is attention's: gates that look at the clip, or one number?

The constant variant has each gate replaced by its mean, one number a layer. What it saves is not attention's but that
of the scaling, of the training with a gate, and of a penalty on operations, which the baseline goes without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spikefold.session import BASELINE
from spikefold.stages.files.simulate import CONSTANT, FLOAT, VariantForm


def attention_share(variants: Mapping[str, VariantForm]) -> dict[str, Any] | None:
    """Spikes a clip and accuracy of the baseline, with constant gates and with attention; None without all three."""
    if not {FLOAT, BASELINE, CONSTANT} <= set(variants):
        return None
    found = {
        name: {"spikes_per_clip": variants[key].spikes / variants[key].clips, "accuracy": variants[key].accuracy}
        for name, key in (("baseline", BASELINE), ("constant", CONSTANT), ("attention", FLOAT))
    }
    spikes = {name: one["spikes_per_clip"] for name, one in found.items()}
    saved = spikes["baseline"] - spikes["attention"]
    share = (spikes["baseline"] - spikes["constant"]) / saved if saved > 0 else None
    accuracies = f"accuracy {found['attention']['accuracy']:.3f}, with constants {found['constant']['accuracy']:.3f}"
    what = f"{_said(saved, share)}; {accuracies}."
    return found | {"saved_spikes_per_clip": saved, "share_of_constant_gates": share, "what": what}


def _said(saved: float, share: float | None) -> str:
    if share is None:
        return f"The network fires {-saved:,.0f} spikes a clip more than its baseline"
    whole = f"the {saved:,.0f} spikes a clip that the network saves against its baseline"
    constants = "with each gate replaced by one number a layer"
    if share >= 1:
        return f"All of {whole} are saved {constants} too: none of the saving is attention's"
    return f"Of {whole}, {share:.0%} are saved {constants} too; attention explains the other {1 - share:.0%}"
