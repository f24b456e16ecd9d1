"""Model the shape of a noise power spectrum: a white fraction and a Gaussian along each axis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from cxr_infer.imaging.noise_blocks import BLOCK
from cxr_infer.imaging.pixels import Float64Array

GRID = 64  # frequencies per axis for integrals over the spectrum


@dataclass(frozen=True)
class Shape:
    """P(u, v) = a + (1 - a) exp(-4 pi^2 (u^2 sx^2 + v^2 sy^2)) up to a factor; u across and v down, in cycles/px.

    white: a, the white fraction at frequency 0; above 1 the noise is blue, as after sharpening. across, down: sx and
    sy, px. The default is white noise.
    """

    white: float = 1.0
    across: float = 0.0
    down: float = 0.0

    @property
    def widest(self) -> float:
        """The larger of the two widths, px."""
        return max(self.across, self.down)

    def power(self, u: Float64Array, v: Float64Array) -> Float64Array:
        """Return P at frequencies in cycles/px, arrays of one shape."""
        gauss = np.exp(-4 * np.pi**2 * ((u * self.across) ** 2 + (v * self.down) ** 2))
        return np.asarray(self.white + (1 - self.white) * gauss)

    @cached_property
    def _grid(self) -> Float64Array:
        return self.power(*_frequencies())

    def _share(self, response: Float64Array) -> float:
        return float((self._grid * response).mean() / self._grid.mean())

    def correlation(self) -> tuple[float, float]:
        """Return the correlation of neighbouring pixels' noise, across and down; -1 to 1."""
        u, v = _frequencies()
        return self._share(np.cos(2 * np.pi * u)), self._share(np.cos(2 * np.pi * v))

    def energy_shape(self, spacing: int) -> float:
        """Return the shape parameter of the gamma distribution of a block's high-pass energy: (mean / sd)^2.

        spacing: px between the taps of the high-pass.
        """
        return _energy_shape(self, spacing)

    def at_full_size(self, scale: int) -> tuple[Shape, float]:
        """Convert the shape of noise in an image reduced `scale` times by area to full size.

        Returns the shape at full size and the fraction of its variance that the reduced image holds.
        """
        if scale == 1:
            return self, 1.0
        box = (scale**2 - 1) / 12  # variance of a mean's kernel, px squared
        across, down = (float(np.sqrt(max((width * scale) ** 2 - box, 0.0))) for width in (self.across, self.down))
        full = Shape(self.white, across, down)
        u, v = _frequencies()
        return full, full._share((_mean_gain(u, scale) * _mean_gain(v, scale)) ** 2)


WHITE_NOISE = Shape()


@lru_cache(maxsize=64)
def _energy_shape(shape: Shape, spacing: int) -> float:
    covariance = np.fft.ifft2(shape._grid * _grid_response(spacing)).real
    covariance /= covariance[0, 0]
    lags = np.arange(1 - BLOCK, BLOCK)
    overlap = (BLOCK - np.abs(lags)) / BLOCK**2
    return float(1 / (2 * (covariance[np.ix_(lags, lags)] ** 2 * overlap[:, None] * overlap).sum()))


def high_pass_response(u: Float64Array, v: Float64Array, spacing: int) -> Float64Array:
    """Return the squared gain of the blocks' high-pass; its mean over all frequencies is 1."""
    across, down = (2 - 2 * np.cos(2 * np.pi * spacing * frequency) for frequency in (u, v))
    return np.asarray((across * down) ** 2 / 36)


@lru_cache(maxsize=2)
def _grid_response(spacing: int) -> Float64Array:
    return high_pass_response(*_frequencies(), spacing)


@lru_cache(maxsize=1)
def _frequencies() -> tuple[Float64Array, Float64Array]:
    """Return u and v of the grid in FFT order, (GRID, GRID) each."""
    line = np.fft.fftfreq(GRID)
    u, v = np.meshgrid(line, line)
    return u, v


def _mean_gain(frequency: Float64Array, scale: int) -> Float64Array:
    """Return the gain of a mean over `scale` px."""
    places = np.arange(scale) - (scale - 1) / 2
    return np.asarray(np.cos(2 * np.pi * frequency[..., None] * places).mean(axis=-1))
