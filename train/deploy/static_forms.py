# SPDX-License-Identifier: Apache-2.0
"""Chooses the static form of a network's gates among those that the chip can carry, by the least loss on clips.

Each form replaces the dynamic gates in all layers, and the network is run over the calibration clips. The loss of a
form is the mean divergence of the class distribution from that of the dynamic network, ``KL(p_dynamic || p_static)``
with ``p = softmax(gain * output rates)``. It is finer than the accuracy, which a hundred clips resolve to one per
cent. The form with the least loss is chosen; of equal losses the coarser form, which costs nothing on a chip.

A network whose best form loses more accuracy than ``tolerance`` on these clips is refused, unless the user accepts
the layers by name. The refusal says what each layer loses when it alone is static.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.train.data.clips import ClipSet
from spikefold.train.deploy.gates import FORMS, GateStatistics, static
from spikefold.train.evaluate import evaluate
from spikefold.train.models.spiking_net import SpikingNet


@dataclass(frozen=True)
class Candidate:
    """One form in all layers, measured over the calibration clips.

    Attributes:
        form: the name of the form.
        loss: the divergence from the dynamic network, in nats.
        accuracy: the share of clips with the right class.
        agreement: the share of clips with the class of the dynamic network.
        output_spikes: the spikes of the last layer per clip.
    """

    form: str
    loss: float
    accuracy: float
    agreement: float
    output_spikes: float


@dataclass(frozen=True)
class Choice:
    """The chosen form.

    Attributes:
        form: its name; ``"none"`` for a network without attention.
        why: the reason, as a sentence for the report.
        dynamic_accuracy: the accuracy of the dynamic network on the same clips.
        candidates: all forms that it was chosen from.
    """

    form: str
    why: str
    dynamic_accuracy: float
    candidates: tuple[Candidate, ...]

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return asdict(self)


def factors(statistics: Mapping[str, GateStatistics], form: str) -> dict[str, np.ndarray]:
    """The static factors of every layer in one form, by layer name."""
    return {name: layer.form(form) for name, layer in statistics.items()}


@dataclass(frozen=True)
class Measured:
    """All forms of a network's gates, measured over the same clips.

    Attributes:
        dynamic_accuracy: the accuracy of the dynamic network.
        clips: the number of clips.
        candidates: the forms.
    """

    dynamic_accuracy: float
    clips: int
    candidates: tuple[Candidate, ...]


def measure(
    model: SpikingNet, statistics: Mapping[str, GateStatistics], clips: ClipSet, gain: float, batch: int | None = None
) -> Measured:
    """Run the network with each form in all layers.

    Args:
        model: the trained network.
        statistics: the calibrated gates of its layers.
        clips: the calibration clips.
        gain: the factor that makes logits of rates, as in the training.
        batch: the number of clips that are run at once; it must be given where the clips of a batch share masks.
    """
    dynamic = evaluate(model, clips.frames, batch)
    found = []
    for form in FORMS if statistics else ():
        with static(model, factors(statistics, form)) as frozen:
            found.append(_candidate(form, evaluate(frozen, clips.frames), dynamic, clips, model, gain))
    return Measured(_accuracy(dynamic, clips), len(clips), tuple(found))


def choose(measured: Measured, allowed: tuple[str, ...]) -> Choice:
    """Choose the form among ``allowed`` with the least loss, and the coarser one of equals."""
    before, found = measured.dynamic_accuracy, tuple(c for c in measured.candidates if c.form in allowed)
    if not found:
        return Choice("none", "the network has no attention", before, ())
    best = min(found, key=lambda candidate: candidate.loss)
    losses = ", ".join(f"{c.form} {c.loss:.4f}" for c in found)
    why = f"least divergence from the dynamic network on {measured.clips} calibration clips ({losses} nats)"
    return Choice(best.form, why, before, found)


def refuse_poor(
    choice: Choice,
    model: SpikingNet,
    statistics: Mapping[str, GateStatistics],
    clips: ClipSet,
    tolerance: float,
    accepted: tuple[str, ...],
    batch: int | None = None,
) -> None:
    """Refuse a form that loses more accuracy than ``tolerance``, unless all layers are accepted by name.

    Raises:
        UnsupportedError: the form is refused; the issues say what each layer that was not accepted loses alone.
    """
    lost = {c.form: choice.dynamic_accuracy - c.accuracy for c in choice.candidates}.get(choice.form, 0.0)
    unaccepted = statistics.keys() - set(accepted)
    if lost <= tolerance or not unaccepted:
        return
    before = choice.dynamic_accuracy
    raise UnsupportedError(
        f"no static form of the attention is good enough: {choice.form} takes the accuracy on {len(clips)} "
        f"calibration clips from {before:.3f} to {before - lost:.3f}, {tolerance:.2f} may be lost",
        where="gates",
        issues=_alone(model, statistics, choice.form, clips, before, unaccepted, batch),
        hint="train again, raise gates.tolerance, or accept layers by name: "
        f"--set 'gates.accept={list(statistics)}' (adaptation may win the accuracy back)",
    )


def _candidate(
    form: str, counts: np.ndarray, dynamic: np.ndarray, clips: ClipSet, model: SpikingNet, gain: float
) -> Candidate:
    scale = gain / (model.steps * model.config.voters)
    expected, found = _log_softmax(dynamic * scale), _log_softmax(counts * scale)
    loss = float((np.exp(expected) * (expected - found)).sum(axis=1).mean())
    agreement = float((counts.argmax(1) == dynamic.argmax(1)).mean())
    return Candidate(form, loss, _accuracy(counts, clips), agreement, float(counts.sum() / len(clips)))


def _alone(
    model: SpikingNet,
    statistics: Mapping[str, GateStatistics],
    form: str,
    clips: ClipSet,
    before: float,
    names: set[str],
    batch: int | None,
) -> list[Issue]:
    """Measure what each layer loses when it alone is static."""
    issues = []
    for name in sorted(names):
        with static(model, {name: statistics[name].form(form)}) as frozen:
            after = _accuracy(evaluate(frozen, clips.frames, batch), clips)
        got = f"{before:.3f} -> {after:.3f}, explains {statistics[name].shares[form]:.2f} of the gate's variance"
        issues.append(Issue(f"static gate ({form})", name, got, "a small loss", "accept it by name, or train again"))
    return issues


def _accuracy(counts: np.ndarray, clips: ClipSet) -> float:
    return float((counts.argmax(1) == clips.labels).mean())


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
