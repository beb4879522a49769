# SPDX-License-Identifier: Apache-2.0
"""The sections of a run's configuration: what each key means, which values it takes, and what it is by default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationInfo, field_validator


class Section(BaseModel):
    """Keys of a configuration: closed and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_Share = Annotated[float, Field(ge=0, lt=1)]
_Width = Annotated[int, Field(ge=1, le=2**16)]
"""Channels or neurons of a layer; their product is looked at where a network is built."""
SAMPLE_CHANNELS, RECORDED_CHANNELS = (16, 32, 32), (24, 48, 48)
"""Of a network for generated recordings, which is to take minutes, and for others; see `train/deploy/README.md`."""
SAMPLE_PENALTY, RECORDED_PENALTY = 0.05, 0.2
"""On the operations of the same two; see there."""
_MOST_LAYERS = 256
_EVENT_EPOCHS = 2.5
"""By events to one in steps; see `train/deploy/README.md`."""


class DataConfig(Section):
    """Where events come from and how they become frames."""

    source: str = Field(
        "gestures",
        description="gestures | digits | npz:DIR (train.npz, test.npz) | folder:DIR | dvs128gesture:DIR | "
        "gait-day:DIR | gait-night:DIR | dailyaction:DIR | nmnist:DIR | har-dvs:DIR (images)",
    )
    on_fault: Literal["refuse", "repair"] = Field(
        "refuse", description="files cut short, time that runs backwards, addresses outside the sensor"
    )
    sensor: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="(H, W) in pixels that wins over what files say; images are resized to it"
    )
    time_unit: Literal["us", "ms", "s", "ns"] = Field(
        "us", description="unit of times in files whose format leaves it open: text, npz, npy, h5"
    )
    max_events: int | None = Field(
        None, ge=1, le=2**34, description="events that a file may claim; none: a million, or 4 for each of its bytes"
    )
    max_pixels: int = Field(2**22, ge=1, le=2**32, description="pixels that a sensor may claim")
    train: int = Field(660, ge=1, le=10**7, description="recordings to generate for training (generated sources)")
    test: int = Field(110, ge=1, le=10**7, description="recordings to generate for testing (generated sources)")
    test_share: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="share of each class kept for testing (folder source); 0: none is kept",
    )
    steps: int = Field(8, ge=1, le=2**14, description="time bins T of a clip")
    dt_us: int | None = Field(
        None, ge=1, le=10**12, description="length of a bin; none: so that T bins span a typical clip"
    )
    max_count: int | None = Field(
        None, ge=1, le=65535, description="events of a pixel and bin beyond this are left out; none: most in training"
    )
    downsample: int | None = Field(
        None, ge=1, le=2**16, description="pixels a side summed into one (images: their mean); none: to 40 a side"
    )
    bins: Literal["time", "count"] = Field(
        "time", description="time: bins of dt_us; count: T bins with equally many events, over the whole recording"
    )
    window: Literal["start", "random"] = Field(
        "start", description="training clips: the start of a recording, or T bins from anywhere in it"
    )
    clips: int = Field(
        1, ge=1, le=2**16, description="evenly spaced clips of a recording that vote where a network is judged"
    )
    held: int | None = Field(
        None, ge=1, description="clips of each split, drawn by the seed, for the stages after the training (images)"
    )
    vote: Literal["majority", "rates"] = Field(
        "majority", description="right if more than half of its clips are; or if the sum of their output spikes is"
    )


class ModelConfig(Section):
    """The network: convolutions with neurons, then dense layers with neurons, the last of them the output."""

    family: Literal["chain", "sew"] = Field(
        "chain",
        description="chain: convolutions one after the other; sew: SEW-ResNet, two residual blocks of two 3x3 "
        "convolutions for each entry of channels, behind a 7x7 convolution and a max pool",
    )
    channels: tuple[_Width, ...] = Field(
        SAMPLE_CHANNELS,
        max_length=_MOST_LAYERS,
        description="channels of each convolution; a chain for recordings in files gets 24, 48, 48 if none are given",
    )
    strides: tuple[_Width, ...] = Field(
        (2, 2, 2), max_length=_MOST_LAYERS, description="spatial reduction of each convolution"
    )
    reduction: Literal["pool", "stride", "spike_max", "spike_mean"] = Field(
        "stride",
        description="pool: 3x3 conv + average pool before the neuron (the paper); stride: the one strided "
        "convolution that it equals; spike_max, spike_mean: 3x3 conv, and a pool on the neuron's spikes",
    )
    hidden: tuple[_Width, ...] = Field(
        (), max_length=_MOST_LAYERS, description="neurons of each dense layer before the output layer"
    )
    dropout: tuple[_Share, ...] = Field(
        (),
        max_length=2 * _MOST_LAYERS + 1,
        description="probability for each layer with neurons of a chain: of its inputs, anew each step, and of its "
        "output spikes, for a whole clip; empty: none",
    )
    conv_bias: bool = Field(False, description="biases in the convolutions, before batch norm")
    dense_bias: bool = Field(False, description="biases in the dense layers")
    attention: Literal["none", "asa1", "asa2", "sa", "tcsa"] = Field(
        "asa1",
        description="ASA with or without the temporal MLP; what it is compared with: spatial attention, or temporal, "
        "channel and spatial",
    )
    lam: float = Field(0.5, gt=0, lt=1, description="ASA's share of important channels and steps")
    reduction_ratio: _Width = Field(
        1, description="ASA-1's temporal MLP: 1: T to T; r: T to T/r to T with a ReLU between (published runs: 4, 8)"
    )
    asa_mode: Literal["clip", "batch"] = Field(
        "clip",
        description="clip: ASA ranks each clip by itself (the paper); batch: by the union over a batch (its "
        "published code: a clip's result depends on the others beside it, in evaluation too)",
    )
    learn_importance: bool = Field(
        False, description="gradients for ASA's importance weights, straight-through; published: none"
    )
    static_share: float = Field(
        0.3, ge=0, le=1, description="share of training clips that see ASA's mean gate, as a chip will"
    )
    neuron: Literal["if", "lif", "lif_decay_input", "plif"] = Field(
        "if",
        description="integrate-and-fire runs on both chips, leaky on Loihi; lif_decay_input scales its input by "
        "1 - keep too, and plif learns that share, one a layer",
    )
    threshold: float = Field(1.0, gt=0, description="firing threshold")
    keep: float = Field(
        0.5, gt=0, lt=1, description="share of the potential a leaky neuron keeps each step; plif's before training"
    )
    surrogate: Literal["atan", "rectangle"] = Field(
        "atan", description="derivative of a spike in training: arctangent's, or the paper's rectangle of width 1/2"
    )
    detach_reset: bool = Field(True, description="no gradient through a reset")
    voters: int = Field(4, ge=1, le=2**16, description="output neurons of each class; their spikes are added up")

    @field_validator("dropout")
    @classmethod
    def _one_for_each_layer(cls, given: tuple[float, ...], others: ValidationInfo) -> tuple[float, ...]:
        """Source of the rule: the ``-ps`` of the published code has one digit a layer, the output's too."""
        if not given or not {"family", "channels", "hidden"} <= others.data.keys():
            return given  # what is wrong with the others is said there
        if others.data["family"] != "chain":
            raise ValueError(f"a network of the family {others.data['family']} has no dropout")
        layers = len(others.data["channels"]) + len(others.data["hidden"]) + 1
        if len(given) != layers:
            raise ValueError(f"{len(given)} probabilities for {layers} layers with neurons, that of the output too")
        return given


class TrainConfig(Section):
    """The training."""

    epochs: int = Field(24, ge=1, le=10**6)
    batch: int = Field(20, ge=1, le=2**20)
    lr: float = Field(3e-3, gt=0, description="Adam's learning rate: the schedule's highest")
    weight_decay: float = Field(0.01, ge=0, description="Adam's: this times the weights is added to their gradient")
    decoupled_decay: bool = Field(
        True, description="AdamW: weights shrink by lr * weight_decay a step, past Adam's moments"
    )
    label_smoothing: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="share of each label that goes evenly to all classes, in losses of cross-entropy",
    )
    synops_penalty: float = Field(
        SAMPLE_PENALTY,
        ge=0,
        description="added to the loss for each million synaptic operations a clip of hidden spikes; a network for "
        f"recordings in files gets {RECORDED_PENALTY} if none is given",
    )
    schedule: Literal["one_cycle", "cosine"] = Field(
        "one_cycle", description="one_cycle: up and down batch by batch; cosine: down epoch by epoch, to 1e-6"
    )
    loss: Literal["rate", "current", "rate_mse"] = Field(
        "rate",
        description="cross-entropy on output rates or on output currents; rate_mse: squared distance of the rates "
        "from 1 for the class and 0 for the others",
    )
    gain: float = Field(10.0, gt=0, description="factor from a firing rate to a logit")
    shift: int = Field(
        0, ge=0, le=2**16, description="augmentation: shift each batch by up to this many input pixels"
    )
    augment: Literal["auto", "none", "eventdrop", "geometric"] = Field(
        "auto",
        description="eventdrop: of the events of a clip leave out a stretch of time, an area, some, or none; "
        "geometric: each clip turned, scaled, sheared and moved; auto: geometric, of images none",
    )
    protocol: Literal["last", "validation", "paper"] = Field(
        "last",
        description="the weights that are kept: of the last epoch; of the best on training recordings held out; "
        "paper: of the best on the test set, as the published code does, which flatters the result",
    )
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="share of each class's training recordings held out by protocol validation"
    )
    test_batch: int = Field(
        4, ge=1, description="recordings judged together; with asa_mode = batch their clips share masks (paper: 4)"
    )
    device: Literal["cpu", "cuda", "auto"] = Field("cpu", description="auto: CUDA where there is a GPU")
    precision: Literal["float32", "bf16", "fp16"] = Field(
        "float32", description="bf16, fp16: mixed precision, on CUDA only"
    )
    baseline: bool = Field(True, description="train the same network without attention beside it")
    threads: int = Field(1, ge=1, le=2**10, description="CPU threads of each training; results depend on it")


class GatesConfig(Section):
    """From dynamic attention to static gates."""

    clips: int = Field(200, ge=1, description="training clips over which the gates are calibrated")
    tolerance: float = Field(
        0.15, ge=0, le=1, description="accuracy on them that a static form may lose before it is refused"
    )
    accept: tuple[str, ...] = Field((), description="attention layers accepted whatever their static form loses")


class AdaptConfig(Section):
    """Fine-tuning of the folded network in each chip's own integers."""

    by: Literal["auto", "steps", "events"] = Field(
        "auto",
        description="steps: in clocked time steps; events: on event-driven chips (Speck) event by event, without "
        "biases, teacher and blend; auto: events on such chips where clips are bins of equal time",
    )
    epochs: int = Field(8, ge=0, le=10**6, description="0: no adaptation")
    event_epochs: int | None = Field(
        None,
        ge=1,
        le=10**6,
        description="by events; none: 2.5 times as many as epochs; as many again where none of them is kept",
    )
    lr: float = Field(3e-4, gt=0, description="peak of the one-cycle schedule of Adam")
    event_lr: float = Field(2e-3, gt=0, description="the same by events, where thresholds are 1")
    event_batch: int = Field(
        10,
        ge=1,
        le=2**20,
        description="recordings a step by events, where many small steps learn more than few large",
    )
    held_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of each class's training recordings that no weight is trained on: they choose among the "
        "network before, its epochs and blends; 0: the last is kept; with train.protocol validation those do",
    )
    spike_limit: float = Field(
        1.4,
        ge=0,
        description="by events: hidden spikes, weighted by fan-out, over those of the folded network; what is beyond "
        "is added to the loss; 0: no limit",
    )
    distill: float = Field(0.5, ge=0, le=1, description="weight of the float network as teacher against the labels")
    synops_budget: float | None = Field(
        None, gt=0, description="synaptic operations a clip, input events included; none: no budget"
    )
    blend: float = Field(
        0.5,
        gt=0,
        le=1,
        description="share of the tuned weights in the result, the rest as before; 1 where parts are gone",
    )
    bias: Literal["keep", "fade"] = Field(
        "keep", description="fade: train the biases away (a chip's bias is a clock)"
    )
    spikes: Literal["keep", "several"] = Field(
        "several",
        description="several: as many spikes a step as thresholds fit, on chips that cannot cap them (Speck)",
    )
    cap_weights: bool = Field(True, description="no weight above its threshold: one event, at most one spike")

    @property
    def epochs_by_events(self) -> int:
        """How many epochs a network is trained by events; 0 without an adaptation."""
        return (self.event_epochs or round(_EVENT_EPOCHS * self.epochs)) if self.epochs else 0


class ChipsConfig(Section):
    """The targets, and how much each simulator is given."""

    names: tuple[str, ...] = Field(
        ("speck2f", "loihi2"), description="chips to adapt to and export for; []: none, the network stays real"
    )
    baseline: bool = Field(
        True, description="take the baseline without attention to each chip too, so that like stands beside like"
    )
    parity_clips: int = Field(20, ge=1, description="test clips, drawn over all classes, compared spike for spike")
    core_limit: float | None = Field(
        None,
        gt=0,
        description="synaptic operations a second that a core of an event-driven chip is warned at; Speck's own are "
        "not public",
    )
    power: dict[str, str] = Field(
        {},
        description="by chip a technology profile in place of what is published of it, such as a calibrated one: "
        "--set chips.power.speck2f=FILE.toml",
    )
    accuracy_loss: float = Field(
        0.02, ge=0, le=1, description="accuracy below that of the float network beyond which a chip's is said first"
    )
    vendor_clips: int = Field(20, ge=1, description="of them, those given to the vendor's simulator (lava's is slow)")

    @field_validator("names")
    @classmethod
    def _once_each(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            raise ValueError(f"named more than once: {', '.join(twice)}")
        return given
