"""Random numbers (NumPy's generator), dims as values, and the Fourier transform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stepwell.runtime.dtypes import dtype_of

from .values import Array, HostOp, wide


def generator(seed: float | None) -> np.random.Generator:
    """A generator of the seed, or a fresh one."""
    bits = None if seed is None else int(np.float64(seed).view(np.uint64))
    return np.random.default_rng(bits)


def random_uniform(
    dtype: str,
    shape: Sequence[int],
    low: float,
    high: float,
    seed: float | None = None,
) -> list[Array]:
    """Numbers uniform in `[low, high)`."""
    return [generator(seed).uniform(low, high, shape).astype(dtype_of(dtype))]


def random_normal(
    dtype: str,
    shape: Sequence[int],
    mean: float,
    scale: float,
    seed: float | None = None,
) -> list[Array]:
    """Numbers of the normal distribution."""
    return [generator(seed).normal(mean, scale, shape).astype(dtype_of(dtype))]


def bernoulli(p: Array, dtype: str, seed: float | None = None) -> list[Array]:
    """1 with the probability given per element, else 0."""
    drawn = generator(seed).uniform(size=p.shape) < wide(p)
    return [drawn.astype(dtype_of(dtype))]


def multinomial(
    logits: Array, dtype: str, shape: Sequence[int], seed: float | None = None
) -> list[Array]:
    """Class indices drawn from log-probabilities `[batch, classes]`."""
    gumbel = generator(seed).gumbel(size=(shape[1], *logits.shape))
    return [np.argmax(wide(logits) + gumbel, -1).T.astype(dtype_of(dtype))]


def dim_value(dtype: str, dim: Sequence[int]) -> list[Array]:
    """The value of a dim expression."""
    return [np.array(dim[0], dtype_of(dtype))]


def dft(
    x: Array,
    dtype: str,
    axis: int,
    length: Sequence[int],
    inverse: bool,
    onesided: bool,
) -> list[Array]:
    """Discrete Fourier transform along an axis; the last dim holds re (and im)."""
    axis %= x.ndim
    source = x if x.dtype == np.float32 else wide(x)
    signal = source[..., 0]
    if x.shape[-1] == 2:
        signal = signal + np.complex64(1j) * source[..., 1]
    if onesided and inverse:
        y = np.fft.irfft(signal, length[0], axis)[..., None]
    elif onesided:
        y = _pairs(np.fft.rfft(np.real(signal), length[0], axis))
    else:
        y = _pairs((np.fft.ifft if inverse else np.fft.fft)(signal, length[0], axis))
    return [y.astype(dtype_of(dtype))]


def _pairs(y: Array) -> Array:
    """Complex numbers as a last dim of re and im."""
    return np.stack([np.real(y), np.imag(y)], -1)


NUMBERS: Mapping[str, HostOp] = {
    "bernoulli": bernoulli,
    "dft": dft,
    "dim_value": dim_value,
    "multinomial": multinomial,
    "random_normal": random_normal,
    "random_uniform": random_uniform,
}
