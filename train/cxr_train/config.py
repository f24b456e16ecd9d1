"""All settings of the training stage, with units. `specs` has the defaults of each model."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class NoiseConfig:
    """How noise is added to training images. Doses are photons at white, drawn log-uniformly."""

    lowest_dose: float = 12.0
    highest_dose: float = 2400.0
    clean_share: float = 0.08  # fraction of crops left clean: a clean image must come back unchanged
    processed_share: float = 0.3  # of those, already compressed, smoothed or cropped
    faint_share: float = 0.14  # fraction of crops (`window`) with faint noise on an image with little noise of its own
    poisson_share: float = 0.38  # fraction of crops with plain Poisson mottle; the others have detector noise
    logarithmic_share: float = 0.05  # fraction of crops (`window`) with few photons and a logarithmic display
    most_sd: float = 40.0  # gray levels, maximum of detector noise
    level_jitter: float = 0.05  # log-sd of the error of the told noise level, as for the estimate
    detector_level_jitter: float = 0.15  # the same for detector noise, whose level varies over the image
    published_share: float = 0.5  # whole-image models: fraction at the published dose; the others cover the range


@dataclass(frozen=True)
class TrainConfig:
    """The training of one model. It ends after `steps`, or after `minutes` if given."""

    model: str
    arguments: dict[str, object] = field(default_factory=dict)  # of the model's constructor
    start: str | None = None  # shipped model, run or checkpoint to start from; None for random weights
    teacher: str | None = None  # ONNX file of a `window` whose results are learned as well
    teacher_weight: float = 4.0  # weight of the squared distance to them, in units of the expected error
    steps: int = 20000
    minutes: float | None = None  # wall clock, earlier runs included
    batch: int = 14  # images or crops per step
    crop: int = 128  # px, side of a crop (`window`)
    size: int | None = None  # px, side to resize images to; None for native resolution
    pattern_share: float = (
        0.2  # fraction of crops (`window`) with line pairs, meshes, text and the like, which are not noise
    )
    insert_share: float = 0.6  # fraction of the other crops with small objects drawn into them
    most_inserts: int = 5  # objects per crop
    pairs: int = 2  # pairs of crops (`window`) with and without faint inserts in the same noise, see `contrast_lost`
    pair_weight: float = 0.4  # loss weight of the contrast lost between them
    map_weight: float = 0.3  # loss weight of the error of `NoiseMaps` (`window`)
    line_weight: float = 20.0  # loss weight of lost and false lines (`window`), see `lines_wrong`
    ssim_weight: float = 3.0  # loss weight of 1 - SSIM (`window`)
    quantised_share: float = 0.5  # fraction of steps (`window`) computed on 8-bit grids, see `quantise`
    insert_weight: float = 4.0  # additional loss weight of an insert's pixels
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    warmup: int = 200  # steps
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0  # L2 norm over all parameters
    ema: float = 0.999  # decay of the averaged weights, which are validated and kept
    validate_every: int = 1500  # steps
    validate_images: int = 16
    save_every: float = 120.0  # seconds between states written for --resume
    warm_start_draws: int = 2  # whole-image models: draws per image for the initial fit; 0 for a random start
    workers: int = 0  # processes that draw batches, for a GPU; 0 for a thread
    seed: int = 1
    noise: NoiseConfig = field(default_factory=NoiseConfig)


LOG, CURVE = "log.csv", "curve.png"  # in a run's directory: progress
STATE_FILE = "state.safetensors"  # in a run's directory: everything that --resume needs
VALIDATION_DOSES = (20.0, 71.0, 200.0, 600.0)  # photons at white
