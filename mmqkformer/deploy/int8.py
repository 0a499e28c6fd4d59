"""Quantised weights on whole numbers of spikes, multiplied as bytes and summed as integers."""

import copy
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..layers.quant import (
    QuantisedConv2d,
    QuantisedLayer,
    QuantisedLinear,
    check_steps,
    codes,
    dequantise,
    quantised_layers,
)
from ..saved import saving
from ..saved.saver import active

_TAKEN = (QuantisedConv2d, QuantisedLinear)
# Of these norms are folded in too
_FLOAT = {nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear}
_MOST_LEVELS = 2**8 - 1
_MOST_SUM = 2**31 - 1


class Int8Layer(nn.Module):
    """A convolution or linear layer of int8 weights on uint8 numbers of spikes.

    ``y = scale * sum(codes * n) + bias`` with the numbers n of spikes of the input ``unit * n``;
    the sums are whole numbers of 32 bits and exact, the rest is float32. :func:`to_int8` makes it,
    with the norms behind the layer in ``scale`` and ``bias``.

    Args:
        layer (QuantisedConv2d | QuantisedLinear): Layer whose weights it takes.
        unit (float): Value of one spike of the input.
        scale (Tensor): Factor of each output channel, ``[out]``.
        bias (Tensor): Summand of each, ``[out]``.
    """

    def __init__(self, layer: QuantisedLayer, unit: float, scale: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.unit = unit
        self.is_linear = isinstance(layer, QuantisedLinear)
        weight = codes(layer.weight.detach(), layer.alpha.detach(), layer.bits)
        self.register_buffer('codes', weight[:, :, None, None] if self.is_linear else weight)
        self.register_buffer('scale', scale.float())
        self.register_buffer('bias', bias.float())
        self.register_buffer('zeros', torch.zeros_like(self.scale, dtype=torch.int), False)
        # Stride, padding, dilation and groups, as the operators take them
        self.place: tuple = ((1, 1), (0, 0), (1, 1), 1)
        if not self.is_linear:
            self.place = (layer.stride, layer.padding, layer.dilation, layer.groups)
        self._packed: Tensor | None = None

    def __getstate__(self) -> dict:
        # oneDNN's layout of the weights can neither be copied nor written
        return {**super().__getstate__(), '_packed': None}

    def _load_from_state_dict(self, *args) -> None:
        super()._load_from_state_dict(*args)
        self._packed = None

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]``, or of a linear layer ``[..., C]``, to the same in float32."""
        return self._affine_of_sums(x, self.scale, self.bias)

    def sums(self, x: Tensor) -> Tensor:
        """The whole numbers ``sum(codes * n)``, in float32, of the shape of the output."""
        return self._affine_of_sums(x, torch.ones_like(self.scale), None)

    def _affine_of_sums(self, x: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
        if self._packed is None:
            args = (self.codes, torch.ones_like(self.scale), 1.0, 0, *self.place)
            self._packed = torch.ops.onednn.qconv_prepack(*args)
        maps = x.reshape(-1, x.size(-1), 1, 1) if self.is_linear else x
        y = torch.ops.onednn.qconv_pointwise(
            *(_counts(maps, self.unit), 1.0, 0, self._packed, scale, self.zeros, bias),
            *self.place,
            *(1.0, 0, torch.float32, 'none', [], ''),
        )
        return y.reshape(*x.shape[:-1], len(scale)) if self.is_linear else y

    def extra_repr(self) -> str:
        return f'{tuple(self.codes.shape)}, unit={self.unit:g}, place={self.place}'


def _counts(x: Tensor, unit: float) -> Tensor:
    """The whole numbers ``round(x / unit)`` of spikes ``[B, C, H, W]``, uint8, channels last."""
    # In a row: of a batch of one the strides need not look like channels last, and would be mended
    # by copies
    row = x.permute(0, 2, 3, 1).reshape(-1).float()
    whole = torch.quantize_per_tensor(row, unit, 0, torch.quint8)
    # Its bytes; `int_repr` would copy them, which takes longer than the rounding
    storage = whole.untyped_storage()
    counts = torch.empty(0, dtype=torch.uint8).set_(storage, 0, whole.size(), whole.stride())
    b, c, h, w = x.shape
    return counts.view(b, h, w, c).permute(0, 3, 1, 2)


@dataclass
class _Seen:
    """What a forward pass tells of a layer.

    Attributes:
        inputs (set): ``(levels, unit)`` of its inputs, or None of those that are no spikes.
        norms (list[nn.Module]): The norms directly behind it, in their order.
        calls (int): How often it was called.
    """

    inputs: set[tuple[int, float] | None] = field(default_factory=set)
    norms: list[nn.Module] = field(default_factory=list)
    calls: int = 0


class _Watch:
    """Hooks that tell what layers are given, and which norm takes what they give out.

    Args:
        model (nn.Module): The network they are of.
    """

    def __init__(self, model: nn.Module) -> None:
        self.names = {module: name for name, module in model.named_modules()}
        self.seen: dict[nn.Module, _Seen] = {}
        self.uses: dict[nn.Module, int] = {}
        # What came out last, the version of its values then, and the layer they are of
        self.last: tuple[Tensor, int, nn.Module] | None = None

    def layer(self, layer: nn.Module, args: tuple, output: Tensor) -> None:
        seen = self.seen.setdefault(layer, _Seen())
        seen.inputs.add(active().known(args[0]))
        seen.calls += 1
        self.last = output, output._version, layer

    def norm(self, norm: nn.Module, args: tuple, output: Tensor) -> None:
        self.uses[norm] = self.uses.get(norm, 0) + 1
        if norm.running_mean is None or self.last is None:
            return
        y, version, layer = self.last
        # What a norm outside the layer's own part takes, others may take too, such as a shortcut;
        # and that part may read its norm, as a BorderNorm does
        part = self.names[norm].rpartition('.')[0]
        is_near = not part or self.names[layer].startswith(f'{part}.')
        if is_near and _are_values_of(args[0], y, version):
            self.seen[layer].norms.append(norm)
            self.last = output, output._version, layer


def _are_values_of(x: Tensor, y: Tensor, version: int) -> bool:
    """Whether ``x`` is a view of all of ``y``, nothing of which has changed since a version."""
    return x.data_ptr() == y.data_ptr() and x.numel() == y.numel() and x._version == version


@torch.no_grad()
def _watched(model: nn.Module, forward: Callable[[nn.Module], object]) -> dict[nn.Module, _Seen]:
    """What a forward pass tells of the layers it calls; of shared norms it tells nothing."""
    watch = _Watch(model)
    with ExitStack() as stack:
        stack.enter_context(saving('packed', model))
        for module in model.modules():
            hook = None
            if isinstance(module, QuantisedLayer) or type(module) in _FLOAT:
                hook = watch.layer
            elif isinstance(module, _BatchNorm):
                hook = watch.norm
            if hook is not None:
                stack.callback(module.register_forward_hook(hook).remove)
        forward(model)
    for seen in watch.seen.values():
        if seen.calls > 1 or any(watch.uses[norm] > 1 for norm in seen.norms):
            seen.norms = []
    return watch.seen


def _why_not(layer: QuantisedLayer, seen: _Seen) -> str | None:
    """Why a layer cannot be computed in int8; None where it can."""
    if type(layer) not in _TAKEN:
        return f'is a {type(layer).__name__}'
    if not seen.calls:
        return 'was not called'
    if None in seen.inputs:
        return 'takes what is not known to be whole numbers of spikes'
    units = {unit for _, unit in seen.inputs}
    levels = max(levels for levels, _ in seen.inputs)
    if len(units) > 1:
        return f'takes spikes of several values, {sorted(units)}'
    if levels > _MOST_LEVELS:
        return f'takes up to {levels} spikes, more than a byte holds'
    if isinstance(layer, QuantisedConv2d) and (
        layer.padding_mode != 'zeros' or isinstance(layer.padding, str)
    ):
        return f'has padding={layer.padding!r} of {layer.padding_mode}'
    most = codes(layer.weight, layer.alpha, layer.bits).flatten(1).int().abs().sum(1).max()
    if levels * int(most) > _MOST_SUM:
        return 'may have sums of more than 32 bits'
    return None


def _affine(norms: list[nn.Module], channels: int) -> tuple[Tensor, Tensor]:
    """Factor and summand, float64 ``[channels]``, that norms in eval mode are one behind other."""
    factor, summand = torch.ones(channels).double(), torch.zeros(channels).double()
    for norm in norms:
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight.double()
        shift = 0 if norm.bias is None else norm.bias.double()
        factor, summand = factor * scale, (summand - norm.running_mean.double()) * scale + shift
    return factor, summand


def _fold(layer: nn.Module, factor: Tensor, summand: Tensor) -> None:
    """Puts the factor and summand of each channel into a layer of float weights."""
    by_channel = factor.reshape(-1, *[1] * (layer.weight.dim() - 1))
    # Not in place: layers may share their weight
    layer.weight = nn.Parameter((layer.weight.double() * by_channel).to(layer.weight.dtype))
    bias = 0 if layer.bias is None else layer.bias.double() * factor
    layer.bias = nn.Parameter((bias + summand).to(layer.weight.dtype))


def _replace(model: nn.Module, new: dict[nn.Module, nn.Module]) -> None:
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child in new:
                parent._modules[name] = new[child]


def _check(model: nn.Module) -> None:
    if not quantised_layers(model):
        raise ValueError(
            "the model has no quantised layer: expected one built with quant=dict(type='LSQ')"
        )
    for name, parameter in model.named_parameters():
        if parameter.device.type != 'cpu' or parameter.dtype != torch.float32:
            raise ValueError(
                f'{name} is {parameter.dtype} on {parameter.device}: expected torch.float32 on '
                f'the CPU, whose operators compute in int8'
            )
    check_steps(model)
    _check_operators()


def _check_operators() -> None:
    """Tries them with the largest sums of two products, at which old processors saturate."""
    probe = QuantisedConv2d(64, 16, 1, bias=False)
    probe.quantise_as(8)
    nn.init.constant_(probe.weight, 127)
    nn.init.constant_(probe.alpha, 1)
    ones = torch.ones(16)
    what = f'torch {torch.__version__} on this processor'
    try:
        layer = Int8Layer(probe, 1.0, ones, 0 * ones)
        sums = layer.sums(torch.full((1, 64, 4, 4), float(_MOST_LEVELS)))
    except (AttributeError, RuntimeError) as error:
        raise RuntimeError(
            f'{what}: expected the int8 operators of oneDNN, onednn.qconv_prepack and '
            f'onednn.qconv_pointwise, got: {str(error).splitlines()[0]}'
        ) from error
    if not (sums == 64 * 127 * _MOST_LEVELS).all():
        raise RuntimeError(
            f'{what}: sums of bytes are not exact: expected one with VNNI or AMX, or its like'
        )


# Where tensors have versions, by which changed ones are told
@torch.inference_mode(False)
@torch.no_grad()
def to_int8(
    model: nn.Module, forward: Callable[[nn.Module], object]
) -> tuple[nn.Module, dict[str, str]]:
    """Computes quantised layers behind neurons in int8, for inference on a CPU.

    A layer with steps alpha on spikes ``unit * n`` is ``alpha unit sum(codes * n) + b``, and with a
    batch norm directly behind it ``gamma / sigma (alpha unit sum(codes * n) + b - mean) + beta``:
    bytes are multiplied, the sum is a whole number of 32 bits and exact, and one factor and summand
    a channel follow in float32. Other quantised layers get the quantised weights as float32 ones,
    and all get the norms behind them folded in. Spikes flip only where that rounds otherwise, see
    :func:`spike_flips`.

    Args:
        model (nn.Module): A model or a part of one, float32 on the CPU, with quantised layers.
        forward (Callable[[nn.Module], object]): Runs it once on an input like those to come. Which
            layer takes spikes, of which neuron, and which norm stands behind it is seen there.

    Returns:
        tuple[nn.Module, dict[str, str]]: A copy in eval mode; and by the names of the quantised
        layers that stay float32, why.

    Raises:
        ValueError: There is no quantised layer, none that can be computed so, one whose steps are
            not positive, or a parameter that is not float32 on the CPU.
        RuntimeError: PyTorch or the processor has no int8 operators that are exact.
    """
    _check(model)
    model = copy.deepcopy(model).eval()
    layers = quantised_layers(model)
    watched = _watched(model, forward)
    left: dict[str, str] = {}
    new: dict[nn.Module, nn.Module] = {}
    for name, layer in layers.items():
        seen = watched.get(layer, _Seen())
        if why := _why_not(layer, seen):
            left[name] = why
            continue
        factor, summand = _affine(seen.norms, layer.weight.size(0))
        unit = next(iter(seen.inputs))[1]
        scale = layer.alpha.double() * unit * factor
        bias = 0 if layer.bias is None else layer.bias.double() * factor
        new[layer] = Int8Layer(layer, unit, scale, bias + summand)
    if len(left) == len(layers):
        name, why = next(iter(left.items()))
        raise ValueError(f'no layer can be computed in int8, of {len(layers)}: {name} {why}')
    folded = {norm: nn.Identity() for seen in watched.values() for norm in seen.norms}
    _replace(model, {**new, **folded})
    dequantise(model)
    for layer, seen in watched.items():
        if seen.norms and layer not in new:
            _fold(layer, *_affine(seen.norms, layer.weight.size(0)))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    return model.eval(), left
