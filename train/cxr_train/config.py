"""Every default of the training stage, with its unit. Command-line options override single fields."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class NoiseConfig:
    """How noisy a training image is made. Doses are photons at white, drawn log-uniformly."""

    lowest_dose: float = 12.0
    highest_dose: float = 2400.0
    clean_share: float = 0.08  # crops left as they are: a clean image must come back unchanged
    detector_share: float = 0.15  # crops exposed by a random Detector instead of plain Poisson mottle
    level_jitter: float = 0.08  # log-sd by which the told noise level is off, as the estimate will be
    detector_level_jitter: float = 0.20  # the same for detector mottle, whose level varies over the image
    published_share: float = 0.5  # whole-image models: share at the published dose, the others over the range


@dataclass(frozen=True)
class TrainConfig:
    """One model's training. Steps end it, or minutes where they are given."""

    model: str
    arguments: dict[str, object] = field(default_factory=dict)  # of the model's constructor
    steps: int = 20000
    minutes: float | None = None  # wall clock, resumed time counted in
    batch: int = 24  # images or crops a step
    crop: int = 96  # px, side of a crop (`window`)
    size: int | None = None  # px, side to resize images to; None keeps their native resolution
    insert_share: float = 0.35  # crops (`window`) into which something small is drawn
    insert_weight: float = 2.0  # added loss weight on an insert's pixels
    level_exponent: float = 0.7  # loss is weighted by noise_level ** -exponent
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    warmup: int = 200  # steps
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0  # L2 norm over all parameters
    ema: float = 0.999  # decay of the averaged weights, which are what is validated and kept
    validate_every: int = 1500  # steps
    validate_images: int = 16
    save_every: float = 120.0  # seconds between states written for --resume
    warm_start_draws: int = 2  # whole-image models: draws of every image to fit the start to; 0 for a random start
    seed: int = 1
    noise: NoiseConfig = field(default_factory=NoiseConfig)


WHOLE_IMAGE = TrainConfig(
    "original",
    steps=2500,
    batch=8,
    size=512,
    learning_rate=5e-4,
    weight_decay=1e-3,
    ema=0.99,
    validate_every=200,
    validate_images=64,
)

DEFAULTS: dict[str, TrainConfig] = {
    "original": WHOLE_IMAGE,
    "new": replace(WHOLE_IMAGE, model="new"),
    "window": TrainConfig("window", learning_rate=1.5e-3),
}

STATE_FILE = "state.safetensors"  # in a run's directory: everything that --resume needs
VALIDATION_DOSES = (20.0, 71.0, 200.0, 600.0)  # photons at white
