"""Every setting of the training stage, with its unit. `specs` has the defaults of each model."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class NoiseConfig:
    """How noisy a training image is made. Doses are photons at white, drawn log-uniformly."""

    lowest_dose: float = 12.0
    highest_dose: float = 2400.0
    clean_share: float = 0.08  # crops left as they are: a clean image must come back unchanged
    processed_share: float = 0.3  # of those: compressed, smoothed or cut off by others before
    faint_share: float = 0.14  # crops (`window`) with faint noise on an image that has little of its own
    poisson_share: float = 0.38  # crops with plain Poisson mottle; the others have noise as detectors make it
    logarithmic_share: float = 0.05  # crops (`window`) with the noise of few photons behind a logarithm
    most_sd: float = 40.0  # gray levels, of that
    level_jitter: float = 0.05  # log-sd by which the told noise level is off, as the estimate will be
    detector_level_jitter: float = 0.15  # the same for detectors' noise, whose level varies over the image
    published_share: float = 0.5  # whole-image models: share at the published dose, the others over the range


@dataclass(frozen=True)
class TrainConfig:
    """One model's training. Steps end it, or minutes where they are given."""

    model: str
    arguments: dict[str, object] = field(default_factory=dict)  # of the model's constructor
    start: str | None = None  # name of a shipped model, run or checkpoint to begin from, not from random weights
    teacher: str | None = None  # ONNX file of a `window` whose results are matched beside the clean crops
    teacher_weight: float = 4.0  # of the squared distance to them, in units of the error to be expected
    steps: int = 20000
    minutes: float | None = None  # wall clock, resumed time counted in
    batch: int = 14  # images or crops a step
    crop: int = 128  # px, side of a crop (`window`)
    size: int | None = None  # px, side to resize images to; None keeps their native resolution
    pattern_share: float = 0.2  # crops (`window`) with line pairs, meshes, text and the like, which are no noise
    insert_share: float = 0.6  # of the others, those into which small things are drawn
    most_inserts: int = 5  # of them in a crop
    pairs: int = 2  # of crops (`window`) with and without faint inserts in the same noise, see `contrast_lost`
    pair_weight: float = 0.4  # of the contrast lost between them, beside the loss of all crops
    map_weight: float = 0.3  # of what `NoiseMaps` says beside the truth (`window`)
    line_weight: float = 20.0  # of lines lost and made up beside the loss (`window`), see `lines_wrong`
    ssim_weight: float = 3.0  # of 1 - SSIM beside the loss (`window`)
    quantised_share: float = 0.5  # of the steps (`window`) that compute on the 8-bit grids, see `quantise`
    insert_weight: float = 4.0  # added loss weight on an insert's pixels
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
    workers: int = 0  # processes that draw batches, as a GPU needs them; 0 for a thread
    seed: int = 1
    noise: NoiseConfig = field(default_factory=NoiseConfig)


CHECKPOINT = "checkpoint.safetensors"  # in a run's directory: the best averaged weights, which are exported
LOG, CURVE = "log.csv", "curve.png"  # in a run's directory: what can be followed
STATE_FILE = "state.safetensors"  # in a run's directory: everything that --resume needs
VALIDATION_DOSES = (20.0, 71.0, 200.0, 600.0)  # photons at white
