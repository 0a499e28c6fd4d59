"""Learned step sizes (LSQ): weights of a few bits, by a swap of the layers of a built network."""

from collections.abc import Mapping
from functools import partial

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional as F

from ..checks import check_int
from .time import wide_dtype


def quantise(weight: Tensor, step: Tensor, bits: int) -> Tensor:
    """Fake-quantises a weight; differentiable, see :class:`LSQ`.

    Args:
        weight (Tensor): ``[out, ...]``.
        step (Tensor): Steps alpha of the output channels, ``[out]``, positive.
        bits (int): Bits of a value, from 2 on.

    Returns:
        Tensor: Multiples of the steps, shape and type of ``weight``.
    """
    wide = wide_dtype(weight)
    # Types change out here: behind a `.to` that changes nothing, as the last of an autograd
    # function, compiled graphs lose the gradient
    return _Quantisation.apply(weight.to(wide), step.to(wide), bits).to(weight.dtype)


def codes(weight: Tensor, step: Tensor, bits: int) -> Tensor:
    """The whole numbers ``round(clamp(weight / step))``, int8 of the shape of ``weight``."""
    wide = wide_dtype(weight)
    return _rounded(weight.to(wide), step.to(wide), bits).to(torch.int8)


def values(codes: Tensor, step: Tensor) -> Tensor:
    """Multiples of the steps, in their type: what :func:`quantise` makes of such codes."""
    wide = wide_dtype(step)
    return (codes.to(wide) * _by_channel(step.to(wide), codes)).to(step.dtype)


def _bounds(bits: int) -> tuple[int, int]:
    """``-Qn`` and ``Qp`` of signed values."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _by_channel(step: Tensor, weight: Tensor) -> Tensor:
    return step.reshape(-1, *[1] * (weight.dim() - 1))


def _rounded(weight: Tensor, step: Tensor, bits: int) -> Tensor:
    return (weight / _by_channel(step, weight)).clamp(*_bounds(bits)).round()


class _Quantisation(torch.autograd.Function):
    """Keeps weight and step for the backward pass, and nothing else of their size."""

    @staticmethod
    def forward(ctx, weight: Tensor, step: Tensor, bits: int) -> Tensor:
        ctx.save_for_backward(weight, step)
        ctx.bits = bits
        return _rounded(weight, step, bits) * _by_channel(step, weight)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        weight, step = ctx.saved_tensors
        low, high = _bounds(ctx.bits)
        scaled = weight / _by_channel(step, weight)
        inside = (scaled >= low) & (scaled <= high)
        slope = scaled.clamp(low, high).round() - scaled * inside
        scale = (weight.numel() * high) ** -0.5
        return grad * inside, (grad * slope).flatten(1).sum(1) * scale, None


class QuantisedLayer(nn.Module):
    """A layer whose forward pass takes its weight quantised; :class:`LSQ` makes them.

    Beside ``weight`` (float, which is trained) its state has ``alpha`` ``[out]``, the steps, and
    ``init_state`` ``[1]``: 1, as the steps have been taken from the weights. A state dict without
    ``alpha``, of float weights, or with an ``init_state`` of 0 gives the steps anew; any other is
    loaded as it is.
    """

    bits: int
    # Until they are loaded, the steps follow an initialisation of the weights
    as_built: bool

    def quantise_as(self, bits: int) -> None:
        """Adds what the class needs to a float layer that has just become one."""
        self.bits, self.as_built = bits, True
        steps = self.steps_of(self.weight)
        self.alpha = nn.Parameter(steps, requires_grad=self.weight.requires_grad)
        self.register_buffer('init_state', torch.ones(1, device=self.weight.device))

    def quantised_weight(self) -> Tensor:
        """The weight that the layer computes with."""
        return quantise(self.weight, self.alpha, self.bits)

    def initialise_steps(self) -> None:
        """Takes the steps from the weights, unless they are initialised or loaded already."""
        if self.as_built:
            self._follow_weights()

    @torch.no_grad()
    def _follow_weights(self) -> None:
        self.alpha.copy_(self.steps_of(self.weight))
        self.init_state.fill_(1)
        self.as_built = False

    @torch.no_grad()
    def steps_of(self, weight: Tensor) -> Tensor:
        """``2 mean|w| / sqrt(Qp)`` for every output channel, ``[out]``."""
        mean = weight.abs().mean(dtype=wide_dtype(weight))
        step = 2 * mean / _bounds(self.bits)[1] ** 0.5
        return step.to(weight.dtype).repeat(weight.size(0))

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Tensor],
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list[str],
        *args,
    ) -> None:
        alpha, flag = f'{prefix}alpha', f'{prefix}init_state'
        missing: list[str] = []
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing, *args)
        if alpha in state_dict and self.init_state:
            self.as_built = False
        elif f'{prefix}weight' in state_dict:
            self._follow_weights()
            missing = [name for name in missing if name not in (alpha, flag)]
        missing_keys.extend(missing)

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, bits={self.bits}'


class _QuantisedConv(QuantisedLayer):
    def forward(self, x: Tensor) -> Tensor:
        """As the float layer's."""
        return self._conv_forward(x, self.quantised_weight(), self.bias)


class QuantisedConv1d(_QuantisedConv, nn.Conv1d):
    """``[B, C, L]``, see :class:`QuantisedLayer`."""


class QuantisedConv2d(_QuantisedConv, nn.Conv2d):
    """``[B, C, H, W]``, see :class:`QuantisedLayer`."""


class QuantisedConv3d(_QuantisedConv, nn.Conv3d):
    """``[B, C, D, H, W]``, see :class:`QuantisedLayer`."""


class QuantisedLinear(QuantisedLayer, nn.Linear):
    """``[..., C]``, see :class:`QuantisedLayer`."""

    def forward(self, x: Tensor) -> Tensor:
        """As the float layer's."""
        return F.linear(x, self.quantised_weight(), self.bias)


_QUANTISED = {
    nn.Conv1d: QuantisedConv1d,
    nn.Conv2d: QuantisedConv2d,
    nn.Conv3d: QuantisedConv3d,
    nn.Linear: QuantisedLinear,
}
_FLOAT = {quantised: plain for plain, quantised in _QUANTISED.items()}


@MODELS.register_module()
class LSQ:
    """Learned step size quantisation (Esser et al., ICLR 2020, arXiv 1902.08153) of all weights.

    Called with a module, it turns every convolution and linear layer in it, ``[B, C, ...]``, into
    one that computes with ``w_q = alpha round(clamp(w / alpha, -Qn, Qp))``, in place; names in the
    state dict stay. ``Qn = 2^(bits - 1)``, ``Qp = Qn - 1``, and alpha is a parameter, a step for
    each output channel, at first ``2 mean|w| / sqrt(Qp)``. Gradients, with ``v = w / alpha``:

    ========================= =============== ============================
    where                     dw_q / dw       dw_q / dalpha, times g
    ========================= =============== ============================
    ``-Qn <= v <= Qp``        1               ``round(v) - v``
    below, above              0               ``-Qn``, ``Qp``
    ========================= =============== ============================

    ``g = 1 / sqrt(numel(w) Qp)``. All of this is float32 at least, under autocast too. Biases and
    norms stay as they are. Layers that share their weight share the steps.

    Args:
        bits (int): Bits of a weight, 2 to 8. Defaults to 4.

    Raises:
        ValueError: ``bits`` is out of range.
    """

    def __init__(self, bits: int = 4) -> None:
        self.bits = check_int('bits', bits, 2, 8)

    def __call__(self, module: nn.Module, name: str) -> None:
        """Quantises the weights of a module.

        Args:
            module (nn.Module): A built module, changed in place.
            name (str): What errors call it.

        Raises:
            ValueError: It has no such layer, or one of a class that cannot be quantised.
        """
        layers = {
            path: layer
            for path, layer in module.named_modules()
            if isinstance(layer, (nn.modules.conv._ConvNd, nn.Linear))
        }
        for path, layer in layers.items():
            if type(layer) not in _QUANTISED:
                # Its own forward pass would go on with the float weight
                raise ValueError(
                    f'{_joined(name, path)} is a {type(layer).__name__}: expected one of '
                    f'{[plain.__name__ for plain in _QUANTISED]}'
                )
        if not layers:
            raise ValueError(f'{name} has no convolution and no linear layer')
        of_weight: dict[nn.Parameter, QuantisedLayer] = {}
        for layer in layers.values():
            layer.__class__ = _QUANTISED[type(layer)]
            layer.quantise_as(self.bits)
            first = of_weight.setdefault(layer.weight, layer)
            layer.alpha, layer.init_state = first.alpha, first.init_state
        module.register_forward_pre_hook(partial(_check_before_forward, name))


def quantised_layers(module: nn.Module) -> dict[str, QuantisedLayer]:
    """The quantised layers of a module, by their names in it."""
    return {
        name: layer for name, layer in module.named_modules() if isinstance(layer, QuantisedLayer)
    }


def optional_steps(
    module: nn.Module, state_dict: Mapping[str, object], prefix: str = ''
) -> set[str]:
    """Names in a module of what float weights do not have.

    Args:
        module (nn.Module): The module, quantised or not.
        state_dict (Mapping[str, object]): What it is to be loaded from.
        prefix (str): The module's prefix in it. Defaults to ''.

    Returns:
        set[str]: ``alpha`` and ``init_state`` of every layer; none if the state dict has an
        ``alpha``, since one that has a few of them is damaged.
    """
    names = list(quantised_layers(module))
    if any(prefix + _joined(name, 'alpha') in state_dict for name in names):
        return set()
    return {_joined(name, key) for name in names for key in ('alpha', 'init_state')}


def _joined(name: str, key: str) -> str:
    return '.'.join(filter(None, (name, key)))


def check_steps(module: nn.Module, name: str = '') -> None:
    """Refuses steps that are no positive numbers, by which a layer would divide; reads them once.

    Args:
        module (nn.Module): Module with quantised layers.
        name (str): What the error calls it. Defaults to ''.

    Raises:
        ValueError: A step is zero, negative or not finite; the message names the layer.
    """
    layers = quantised_layers(module)
    if not layers:
        return
    steps = torch.cat([layer.alpha.detach() for layer in layers.values()])
    if steps.is_meta or isinstance(steps, FakeTensor) or _positive(steps):
        return
    for path, layer in layers.items():
        if not _positive(layer.alpha):
            wrong = layer.alpha[~((layer.alpha > 0) & layer.alpha.isfinite())][0].item()
            raise ValueError(
                f'{_joined(name, path)}.alpha={wrong:g}: expected positive steps; did training '
                f'diverge, or are all weights 0?'
            )


def _positive(steps: Tensor) -> bool:
    return bool(((steps > 0) & steps.isfinite()).all())


def _check_before_forward(name: str, module: nn.Module, args: tuple) -> None:
    # A compiled graph cannot raise by values
    if not torch.compiler.is_compiling():
        check_steps(module, name)


@torch.no_grad()
def dequantise(module: nn.Module) -> None:
    """Makes float layers again, in place, whose weights are the quantised ones.

    Args:
        module (nn.Module): Any module; one without quantised layers stays as it is.
    """
    check_steps(module)
    for layer in quantised_layers(module).values():
        layer.weight.copy_(layer.quantised_weight())
        layer.__class__ = _FLOAT[type(layer)]
        del layer.alpha, layer.init_state, layer.bits, layer.as_built
