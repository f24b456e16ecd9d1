"""A small protocol and studies that follow the contract of the lab."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.findings import Axis, Estimate, Finding, NamedMap, Series
from cxr_infer.lab.noise import expose, generator
from cxr_infer.lab.protocol import Protocol, Signal
from cxr_infer.lab.setting import Setting, UnitStore

TOML = """
name = "tiny"
version = 3
seed = 7
phantoms = 1
side = 96
spacing = 0.5
doses = [50, 200]
noises = ["white"]
methods = ["noisy", "gaussian"]
contrasts = [4, 16]
draws = 4
studies = ["error", "levels"]

[[signal]]
kind = "nodule"
size = 5
contrast = 8
"""

PROTOCOL = Protocol(
    name="tiny",
    version=3,
    seed=7,
    phantoms=1,
    side=96,
    spacing=0.5,
    doses=(50.0, 200.0),
    noises=("white",),
    methods=("noisy", "gaussian"),
    signals=(Signal("nodule", 5.0, 8.0),),
    contrasts=(4.0, 16.0),
    draws=4,
    studies=("error", "levels"),
)


def error_study(setting: Setting, work: UnitStore) -> list[Finding]:
    """Root mean square error against dose, with one seeded unit per draw, so that it can be resumed exactly."""
    protocol = setting.protocol
    (clean,) = setting.images.values()
    work.expect(len(setting.methods) * len(protocol.doses) * protocol.draws)
    series, maps = [], []
    for method in setting.methods:
        points = []
        for dose in protocol.doses:
            errors = [
                work.unit(
                    f"{method.name}/{dose:g}/{draw}",
                    lambda m=method, d=dose, n=draw: _error(m, clean, d, n, protocol.seed),
                )
                for draw in range(protocol.draws)
            ]
            sizes = [float(np.sqrt(np.mean(each["error"] ** 2))) for each in errors]
            points.append(Estimate(float(np.mean(sizes)), min(sizes), max(sizes)))
            maps.append(NamedMap(method.name, f"{dose:g} photons", np.mean([each["error"] for each in errors], axis=0)))
        series.append(Series(method.name, "white", protocol.doses, tuple(points)))
    return [
        Finding(
            key="error/all",
            study="error",
            title="Error against dose",
            x=Axis("dose", "photons", logarithmic=True),
            y=Axis("root mean square error", "gray levels"),
            series=tuple(series),
            measured="The root mean square difference to the clean image.",
            on="One phantom.",
            caution="That a small error keeps detail.",
            draws=protocol.draws,
            seed=protocol.seed,
            source="a definition",
            higher_is_better=False,
            maps=tuple(maps[-2:]),
        )
    ]


def _error(method, clean: FloatImage, dose: float, draw: int, seed: int) -> dict[str, FloatImage]:  # type: ignore[no-untyped-def]
    noisy, told = expose(clean, "white", dose, generator(seed, f"{dose:g}", draw))
    return {"error": (method(noisy, told) - clean) * np.float32(255)}


def levels_study(setting: Setting, work: UnitStore) -> list[Finding]:
    """Exact figures, one of them without a value."""
    work.expect(1)
    work.unit("levels", lambda: {"levels": np.array(setting.protocol.contrasts)})
    exact = tuple(map(Estimate.exact, (1.0, float("nan"))))
    series = tuple(Series(method.name, "", setting.protocol.contrasts, exact) for method in setting.methods)
    return [
        Finding(
            key="levels/<all>",
            study="levels",
            title="Levels & <things>",
            x=Axis("contrast", "gray levels"),
            y=Axis("share kept"),
            series=series,
            measured="Nothing.",
            on="Nothing.",
            caution="Anything.",
            draws=0,
            seed=setting.protocol.seed,
            higher_is_better=True,
        )
    ]


FAKES = {"error": error_study, "levels": levels_study}


def write_toml(folder: Path, text: str = TOML) -> Path:
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def with_methods(*methods: str) -> Protocol:
    return replace(PROTOCOL, methods=methods)
