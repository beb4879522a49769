# SPDX-License-Identifier: Apache-2.0
"""Arguments that several commands share, and the configuration that they make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikefold.session import LATEST

if TYPE_CHECKING:
    from spikefold.config import Config

ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; `spikefold config` prints one.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override one key, as --set train.epochs=3.")]
_SOURCES = (
    "gestures | digits | npz:DIR | folder:DIR | dvs128gesture:DIR | gait-day:DIR | gait-night:DIR | dailyaction:DIR "
    "| nmnist:DIR | har-dvs:DIR"
)
Data = Annotated[str | None, typer.Option("--data", help=_SOURCES)]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; by default a new one under runs/.")]
RunFolder = Annotated[Path, typer.Argument(help="A run folder.")]
Budget = Annotated[
    float | None,
    typer.Option(help="Most synaptic operations a clip that adaptation may leave, input events included."),
]
Chips = Annotated[
    list[str] | None,
    typer.Option("--chip", help="A chip of `spikefold chips`, in place of chips.names; again for more."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Arch = Annotated[str, typer.Option("--arch", help="a | b | c | d | sew18 (the paper's) | speck-s, -m or -yao")]
Attention = Annotated[str | None, typer.Option(help="none | sa | tcsa | asa1 | asa2; none where it is not given.")]
Classes = Annotated[int | None, typer.Option(help="Classes; those of the network's own data set by default.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, and nothing else there.")]
_BOARD = "Write each epoch for TensorBoard too: `tensorboard --logdir RUN/tensorboard`."
Tensorboard = Annotated[bool, typer.Option("--tensorboard", help=_BOARD)]
Workers = Annotated[int | None, typer.Option("--workers", help="Do it by so many of Ray's workers; same numbers.")]
Address = Annotated[str | None, typer.Option("--address", help="--workers: of a Ray cluster; else this machine.")]
LATEST_RUN = Path("runs") / LATEST


def configured(config: Path | None, sets: list[str], data: str | None, chips: list[str] | None = None) -> Config:
    """The configuration of a new run, from a file, ``--set``, ``--data`` and ``--chip``."""
    from spikefold.config import load_config

    return load_config(config, (*sets, *on_chips(chips)), source=data)


def on_chips(chips: list[str] | None) -> list[str]:
    """``--chip`` as a setting."""
    return [] if not chips else [f"chips.names={json.dumps(chips)}"]


def budgeted(budget: float | None) -> list[str]:
    """``--synops-budget`` as a setting."""
    return [] if budget is None else [f"adapt.synops_budget={budget}"]
