"""Meaning of random numbers (NumPy's generator) and of the Fourier transform."""

from __future__ import annotations

import numpy as np

from stepwell.dialects import nn

from .environment import Array, Environment, Table, wide


def generator(op: nn.NnOp) -> np.random.Generator:
    """A generator of the op's seed, or a fresh one."""
    seed = op.value("seed")
    return np.random.default_rng(
        None if seed is None else np.float64(seed).view(np.uint64)
    )


def _uniform(environment: Environment, op: nn.RandomUniformOp) -> Array:
    shape = environment.shape(op.result.type)
    return generator(op).uniform(op.value("low"), op.value("high"), shape)


def _normal(environment: Environment, op: nn.RandomNormalOp) -> Array:
    shape = environment.shape(op.result.type)
    return generator(op).normal(op.value("mean"), op.value("scale"), shape)


def _bernoulli(environment: Environment, op: nn.BernoulliOp, p: Array) -> Array:
    return generator(op).uniform(size=p.shape) < wide(p)


def _multinomial(
    environment: Environment, op: nn.MultinomialOp, logits: Array
) -> Array:
    _, samples = environment.shape(op.result.type)
    gumbel = generator(op).gumbel(size=(samples, *logits.shape))
    return np.argmax(wide(logits) + gumbel, -1).T


def _dft(environment: Environment, op: nn.DftOp, x: Array) -> Array:
    (length,) = environment.sizes(op.value("length"))
    single, axis = x.dtype == np.float32, op.value("axis") % x.ndim
    x = x if single else wide(x)
    signal = x[..., 0] if x.shape[-1] == 1 else x[..., 0] + np.complex64(1j) * x[..., 1]
    inverse, onesided = op.value("inverse"), op.value("onesided")
    if onesided and inverse:
        return np.fft.irfft(signal, length, axis)[..., None]
    if onesided:
        y = np.fft.rfft(np.real(signal), length, axis)
    else:
        y = (np.fft.ifft if inverse else np.fft.fft)(signal, length, axis)
    return np.stack([np.real(y), np.imag(y)], -1)


TABLE: Table = {
    nn.RandomUniformOp: _uniform,
    nn.RandomNormalOp: _normal,
    nn.BernoulliOp: _bernoulli,
    nn.MultinomialOp: _multinomial,
    nn.DftOp: _dft,
}
