# SPDX-License-Identifier: Apache-2.0
"""``spikefold.deploy``: a network into one chip's integers, every runner compared, operations counted and priced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spikefold.api.deployed import Deployed
from spikefold.api.loading import Net
from spikefold.api.quiet import Quiet
from spikefold.api.recordings import Given, given
from spikefold.energy.budget import load_profile
from spikefold.energy.chip.sources import numbers_of
from spikefold.energy.counts.rules import DEFAULT as RULE
from spikefold.energy.prices.constants import constants_used, places
from spikefold.energy.prices.load import DEFAULT as PROFILE
from spikefold.errors import ConfigError, MismatchError
from spikefold.export.network import Network
from spikefold.hardware.chip import Chip
from spikefold.hardware.fit import FitReport, fit_report
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.accuracy import predictions
from spikefold.session import Session
from spikefold.stage_table import EXPORT
from spikefold.stages.chip_files import ChipNetwork, compare_runners
from spikefold.stages.exchange.energy_of import priced_one
from spikefold.stages.exchange.fitted import CHECKS, bounded, fitted
from spikefold.stages.files.energy import energy_of_run
from spikefold.stages.files.networks import network_of_run
from spikefold.stages.files.simulate import SimulateFile
from spikefold.stages.files.validate import ParityForm, ValidateFile
from spikefold.stages.report.first_screen import cores_of, first_screen
from spikefold.stages.report.foreign_verdicts import accuracy_on_chips, not_run
from spikefold.stages.report.verdicts import Verdict, energy_verdict, fit_verdict, quoted, spikes_verdict

if TYPE_CHECKING:
    from spikefold.api.recordings import Data, Frames


def deploy(
    net: Net,
    chip: str,
    *,
    data: Data | None = None,
    calibration: Frames | None = None,
    profile: str = PROFILE,
) -> Deployed:
    """Put a network on one chip, exactly, and answer whether it fits, is right, how accurate it is, what it costs.

    A run that has the chip, without ``data``, is shown as it stands: the figures of its report. Everything else is
    folded, rewritten where that is exact, quantised, and run on the clips by every runner, the vendor's among them.

    Args:
        net: of `load`.
        chip: its name; ``spikefold chips`` lists them.
        data: a source as ``"npz:DIR"``, frames ``(T, N, C, H, W)``, or ``(frames, labels)``; None: the test set of a
            run, and for other networks nothing, so that nothing is compared and every verdict on it says NOT RUN.
        calibration: training frames ``(T, N, C, H, W)`` for the search of the scales.
        profile: prices of the arithmetic, a name or ``FILE.toml``.

    Raises:
        ConfigError: an unknown chip, profile or source; a network in another chip's integers.
        DataError: frames that do not go into the network; a run whose stages are not done.
        UnsupportedError: everything that keeps the network from the chip.
        MismatchError: a spike differs between two runners, or a layer never fires.
    """
    target = chip_named(chip)
    if net.session is not None and data is None and chip in net.session.config.chips.names:
        return _as_it_stands(net.session, target)
    foreign, clips = given(net, data, calibration)
    if foreign.chip not in (None, chip):
        raise ConfigError(f"{net.name} holds the integers of {foreign.chip}", where=chip, hint="deploy it there")
    network = foreign.network if clips is None else bounded(foreign.network, clips.test)
    made, passes = _made(net, network, target, clips)
    fit = fit_report(made.integer, target, net.name, as_it_is=True)
    if clips is None:
        verdicts = [_fits(fit, target), *map(not_run(chip), ("spikes", "accuracy", "energy"))]
        return Deployed(net.name, made, fit, _keyed(verdicts), passes=passes)
    parity = _compared(made, clips)
    prices, sources = load_profile(profile), numbers_of([chip], {})
    entry, _ = priced_one(made.integer, clips.test, prices, RULE, target, sources)
    profiles = [one for one in (prices, sources[chip].own, sources[chip].other) if one is not None]
    verdicts = [
        _fits(fit, target),
        spikes_verdict({chip: parity}),
        _accuracy(made, clips) if clips.labelled else not_run(chip, "no labels were given")("accuracy"),
        energy_verdict([chip], {}, {chip: entry}),
    ]
    constants = tuple(constants_used(entry, profiles))
    return Deployed(net.name, made, fit, _keyed(verdicts), parity, entry, passes, clips.source, constants)


def _as_it_stands(session: Session, chip: Chip) -> Deployed:
    """The chip's part of a finished run."""
    name = chip.name
    simulated, validated = SimulateFile.of_run(session), ValidateFile.of_run(session)
    energy = energy_of_run(session, list(simulated.variants))
    first = first_screen(session, simulated, validated, energy)
    verdicts = {}
    for key, verdict in first.verdicts.items():
        (line,) = [one for one in verdict.lines if one.chip == name]
        verdicts[key] = Verdict(key, verdict.question, line.tone, line.word, (line,))
    made = ChipNetwork(chip, *_of_run(session, name), ())
    variant = quoted(name, simulated.variants)
    entry = energy["networks"][variant]
    used = set(places(entry))
    source = f"{simulated.variants[variant].clips} test clips of {session.folder.name}"
    return Deployed(
        session.folder.name,
        made,
        first.fit[name],
        verdicts,
        validated.chips[name],
        entry,
        source=source,
        constants=tuple(one for one in energy.get("constants", ()) if one["where"] in used),
    )


def _made(
    net: Net, network: Network, chip: Chip, clips: Given | None
) -> tuple[ChipNetwork, tuple[Mapping[str, Any], ...]]:
    """The network in the chip's integers: those of a run or of a file where it has them, else made here."""
    if net.session is not None and chip.name in net.session.config.chips.names:
        return ChipNetwork(chip, *_of_run(net.session, chip.name), ()), ()
    if net.foreign.chip is not None:
        return ChipNetwork(chip, network, network, ()), ()
    found = fitted(
        network, [chip.name], None if clips is None else clips.test, None if clips is None else clips.calibration
    )
    if (refusal := found.refusal()) is not None:
        raise refusal
    (made,) = found.chips
    return made, found.passes


def _of_run(session: Session, chip: str) -> tuple[Network, Network]:
    real, integer = (network_of_run(session, EXPORT, f"{chip}/{name}") for name in ("real", "network"))
    return real, integer


def _compared(made: ChipNetwork, clips: Given) -> ParityForm:
    name = made.chip.name
    frames = clips.test.first(CHECKS.parity_clips).frames
    found = compare_runners({name: (made.real, made.integer)}, frames, CHECKS.vendor_clips, Quiet())[name]
    if failures := found.failures():
        raise MismatchError("; ".join(failures), where=name, hint="use nothing of it; `spikefold validate --reduce`")
    return ParityForm.model_validate_json(_json(found.to_json() | {"simulated": None}))


def _json(values: Mapping[str, Any]) -> str:
    import json

    return json.dumps(values, allow_nan=False)


def _accuracy(made: ChipNetwork, clips: Given) -> Verdict:
    """Against the same network before its numbers were rounded, clip by clip."""
    labels = clips.test.labels
    right = {
        key: predictions(clocked.run(one, clips.test.frames).output_counts(one.classes)) == labels
        for key, one in (("real", made.real), ("integer", made.integer))
    }
    after = {made.chip.name: right["integer"]}
    return accuracy_on_chips(right["real"], after, made.integer.classes, CHECKS.accuracy_loss)


def _fits(fit: FitReport, chip: Chip) -> Verdict:
    return fit_verdict({chip.name: fit}, {chip.name: cores_of(chip.name)})


def _keyed(verdicts: list[Verdict]) -> dict[str, Verdict]:
    return {verdict.key: verdict for verdict in verdicts}
