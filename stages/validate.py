# SPDX-License-Identifier: Apache-2.0
"""``6_validate``: every runner of every chip, spike for spike; a difference fails the run."""

from __future__ import annotations

from spikefold.errors import MismatchError
from spikefold.export.io import load_network
from spikefold.export.targets import judge
from spikefold.hardware import parity
from spikefold.hardware.accuracy import accuracy
from spikefold.session import EXPORT, VALIDATE, Session, write_json


def validate_stage(session: Session) -> None:
    """Compare, write the evidence, and only then fail.

    Raises:
        MismatchError: after the evidence was written.
    """
    exported, config = session.path(EXPORT), session.config.chips
    clips = session.clips("test").first(config.parity_clips)
    parities, failures = {}, []
    with session.writing(VALIDATE) as folder:
        for name in config.names:
            real, integer = (load_network(exported / name / kind) for kind in ("real", "network"))
            checked = parity.check(name, integer, clips.frames, judge(name, real, integer), config.judge_clips)
            judged = checked.judged.output_counts(integer.classes)
            found = accuracy(judged, clips.labels[: len(judged)])
            parities[name] = checked.to_json() | {
                "simulated": {"runner": checked.judged.runner, "accuracy": found.share, "clips": found.clips,
                              "interval": list(found.interval), "spikes": checked.judged.spikes},
            }  # fmt: skip
            failures += checked.failures()
            for comparison in checked.comparisons:
                session.reporter.line(f"{name}: {comparison.describe()}")
        write_json(folder / "validate.json", parities)
    if failures:
        raise MismatchError("; ".join(failures), where=str(session.folder / VALIDATE),
                            hint="the first mismatch and both states are in validate.json")  # fmt: skip
