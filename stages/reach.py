# SPDX-License-Identifier: Apache-2.0
"""Before anything is trained: can the network that a configuration describes be built, and ever reach its chips?

A chain that is too wide for a chip can be narrowed after its training (``spikefold fit --apply``), so it may go on. A
residual network cannot be made into one without sums, so a chip that cannot add what two layers send would be found
out after hours of training, at the export.
"""

from __future__ import annotations

from dataclasses import replace

from spikefold.errors import UnsupportedError
from spikefold.hardware.registry import chip_named
from spikefold.session import Session
from spikefold.train.models.architectures import Architecture, network
from spikefold.train.models.spiking_net import final_map


def refuse_unreachable(session: Session) -> None:
    """Refuse a network that the input leaves nothing of, and a residual one on chips that can never hold it.

    Raises:
        ConfigError: strides that leave nothing of the input, keys that the family does not have.
        UnsupportedError: with every rule that the residual network breaks, of every chip that is named.
    """
    model, binning, names = session.config.model, session.binning, session.config.chips.names
    if model.family == "chain":
        final_map(model, binning.shape[1:])
        return
    classes = len(session.dataset.classes)
    untrained = network(
        Architecture(
            model.family, "the network of a run", model, binning.shape, binning.steps, binning.dt_us, classes, ()
        )
    )
    issues = [
        replace(issue, where=f"{name}: {issue.where}")
        for name in names
        for issue in chip_named(name).violations(untrained)
    ]
    if issues:
        raise UnsupportedError(
            f"a residual network (model.family = {model.family!r}) cannot go to {' and '.join(names)}",
            where="chips.names",
            issues=issues,
            hint="--set 'chips.names=[]' trains, folds, simulates and counts it without chips; or model.family=chain",
        )
