# SPDX-License-Identifier: Apache-2.0
"""Holds as options what a ``.nir`` file does not say: each with its meaning, its default, and where that comes from.

NIR's neurons are differential equations. Time step, discretisation, reset, comparison and spikes a step are those of
the tool that trained the network. Where the file tells which one that was (`writer`), its convention holds; else the
user names it by ``convention``, and may change each part. The conventions, read in the source of the release named:

``spikefold``
    Our own `to_nir` writes tau and r in steps: ``dt = 1``, Euler, so keep = 1 - 1/tau and gain r/tau = 1. Reset to
    zero, one spike a step, fires ``>=`` (the default of `Neuron`).
``sinabs`` (3.1.3, ``nir.py``, ``layers/lif.py``, ``layers/functional/lif.py``, ``activation/``)
    IAF and LIF write threshold, tau (in steps) and r = 1; spike function, reset function, ``min_v_mem`` and
    ``norm_input`` are dropped. Defaults of the layers: ``MultiSpike`` = floor(v / theta), so ``>=`` and many spikes;
    ``MembraneSubtract``; keep = exp(-1/tau); ``norm_input=True``, an input gain of 1 - keep, which is what NIR's
    equation gives for ``leak=exponential`` with r = 1. For ``SingleSpike`` and ``MembraneReset`` give
    ``max_spikes=1`` and ``reset=zero``; for ``norm_input=False`` ``gain=one``. Its own reader gives IAF neurons
    a lower bound at minus their threshold, and so does this convention; ``v_min=none`` takes it away for layers that
    were trained without one. nir 1.0.4 cannot write what sinabs leaves empty: ``graph.infer_types()`` first.
``snntorch`` (0.9.4, ``export_nir.py``, ``_neurons/leaky.py``, ``_neurons/neurons.py``, ``surrogate.py``)
    Leaky writes tau = dt / (1 - beta) and r = tau / dt with ``dt = 1e-4`` s: Euler gives back keep = beta and gain 1.
    It fires ``mem - threshold > 0``, strictly, once a step. ``reset_mechanism`` and ``reset_delay`` are dropped;
    they default to "subtract" and True, which takes the threshold off one step later, *after* the leak. No `Neuron`
    does that unless beta is 1, so a leaky one is refused until ``reset=zero`` says that it was trained with
    ``reset_mechanism="zero"``; then the delay changes nothing. With ``reset_delay=False`` a state beyond two
    thresholds is lowered before it is compared, which is refused too. Sample data keeps its batch axis in the Input
    node (``ignore_dims=[]``); it is dropped.

``spikingjelly`` (2.0.0, ``nir_exchange/to_nir.py``)
    IF writes r = 1 / dt, LIF tau dt and r = tau, or 1 with ``decay_input``; ``dt = 1e-4`` s and Euler give back all
    three. Only hard resets are written; fires at equality, once a step.
``norse`` (1.1.0, ``utils/export_nir.py``)
    LIFBoxCell and LIFCell write ``dt / tau_mem_inv`` with the exporter's dt of 1 ms, and step with 1 ms again:
    ``dt = 1e-6`` gives back both shares. Fires above the threshold, once a step, and is reset to zero.

nir 1.0.4 documents ``v - v_threshold`` as the reset of IF and LIF, 1.0.8 ``v_reset``: the file cannot decide that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from spikefold.config import shortened
from spikefold.errors import ConfigError, nearest
from spikefold.export.neuron import Fire, Reset
from spikefold.toml import parse_toml

EULER, EXPONENTIAL = "euler", "exponential"
Convention = Literal["spikefold", "sinabs", "snntorch", "spikingjelly", "norse"]
AT_THRESHOLD = "threshold"
_DT_US = 10_000


@dataclass(frozen=True)
class Semantics:
    """How the neurons of one file are to be understood; see `NirOptions` for each part.

    ``v_min`` is `AT_THRESHOLD` where integrate-and-fire neurons are bounded at minus their own threshold.
    """

    dt: float
    leak: str
    gain: str
    reset: Reset
    reset_delay: bool | None
    max_spikes: int | None
    fire: Fire
    v_min: float | str | None = None


CONVENTIONS = {
    "spikefold": Semantics(1.0, EULER, "file", Reset.ZERO, None, 1, Fire.GE),
    "sinabs": Semantics(1.0, EXPONENTIAL, "file", Reset.SUBTRACT, None, None, Fire.GE, AT_THRESHOLD),
    "snntorch": Semantics(1e-4, EULER, "file", Reset.SUBTRACT, True, 1, Fire.GT),
    "spikingjelly": Semantics(1e-4, EULER, "file", Reset.ZERO, None, 1, Fire.GE),
    "norse": Semantics(1e-6, EULER, "file", Reset.ZERO, None, 1, Fire.GT),
}


class NirOptions(BaseModel):
    """Options of `from_nir.read`. None: the convention decides, or what the description says."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    convention: Convention | None = Field(None, description="who wrote the file; none: what the file says of it")
    steps: int = Field(8, ge=1, description="time steps of a clip")
    dt_us: int | None = Field(
        None, ge=1, description="microseconds of a step; none: 10000, or chosen from recordings"
    )
    classes: int | None = Field(None, ge=1, description="groups of output neurons; none: one each")
    max_count: int | None = Field(
        None, ge=1, le=65535, description="most events of an input and step; none: unknown, or counted in recordings"
    )
    input_shape: tuple[PositiveInt, PositiveInt, PositiveInt] | None = Field(
        None, description="(C, H, W) where the file's Input has another rank"
    )
    dt: float | None = Field(None, gt=0, description="length of a step in the unit of the file's tau")
    leak: Literal["euler", "exponential"] | None = Field(None, description="keep = 1 - dt/tau, or exp(-dt/tau)")
    gain: Literal["file", "one"] | None = Field(
        None, description="input scaling: r dt/tau (exponential: r (1 - keep); IF: r dt), or 1 whatever r is"
    )
    reset: Literal["zero", "subtract"] | None = Field(None, description="what a spike does to the state")
    reset_delay: bool | None = Field(None, description="snnTorch's argument of that name")
    max_spikes: PositiveInt | Literal["many"] | None = Field(None, description="most spikes of a neuron in a step")
    fire: Literal[">=", ">"] | None = Field(None, description="whether a neuron fires at its threshold")
    v_min: Annotated[float, Field(le=0)] | Literal["none"] | None = Field(
        None, description="lower bound of the state, in the unit of the file's threshold, or none"
    )

    def semantics(self) -> Semantics:
        """The convention, with what these options change; where none is named, ours."""
        base = CONVENTIONS[self.convention or "spikefold"]
        return Semantics(
            self.dt or base.dt,
            self.leak or base.leak,
            self.gain or base.gain,
            Reset(self.reset or base.reset),
            base.reset_delay if self.reset_delay is None else self.reset_delay,
            base.max_spikes if self.max_spikes is None else None if self.max_spikes == "many" else self.max_spikes,
            Fire(self.fire or base.fire),
            base.v_min if self.v_min is None else None if self.v_min == "none" else self.v_min,
        )

    def step_us(self) -> int:
        """Length of a step in microseconds."""
        return self.dt_us or _DT_US


DEFAULTS = NirOptions()


def nir_options(settings: Iterable[str] = (), **given: Any) -> NirOptions:
    """Options from ``KEY=VALUE`` texts, and from values that are not None.

    Raises:
        ConfigError: an unknown key with the nearest known one, or a value out of range; all of them at once.
    """
    values = {key: value for key, value in given.items() if value is not None}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or not key:
            raise ConfigError(f"--nir {setting!r} is not KEY=VALUE", hint="for example --nir reset=zero")
        try:
            values[key] = parse_toml(f"value = {text}")["value"]
        except ValueError:
            values[key] = text  # a bare word
    try:
        return NirOptions.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            "; ".join(dict.fromkeys(map(_explain, error.errors()))), where="--nir", hint=_keys()
        ) from error


def _explain(problem: Any) -> str:
    key = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"unknown option {key!r}. {nearest(key, NirOptions.model_fields)}"
    return f"{key}: {problem['msg']} (got {shortened(problem['input'])})"


def _keys() -> str:
    return "; ".join(f"{key}: {field.description}" for key, field in NirOptions.model_fields.items())
