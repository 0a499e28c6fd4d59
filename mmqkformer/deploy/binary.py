"""A network of graded neurons as one of binary spikes: the same numbers, by additions only."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from ..layers.quant import dequantise
from ..neurons import SpikingNeuron


class BinaryMaps(Tensor):
    """Spikes of several levels as binary maps: ``value = sum_k scales[k] * maps[k]``.

    A tensor of the value, for its shape and type; what is computed with it is computed with the
    maps, each ``[T, B, ...]`` of 0 and 1. They are ``ordered`` (a thermometer code) if the k-th
    holds all spikes of the (k+1)-th, as a neuron emits them.
    """

    maps: list[Tensor]
    scales: list[float]
    ordered: bool


def _binary(maps: list[Tensor], scales: list[float], ordered: bool) -> BinaryMaps:
    value = sum(scale * m for scale, m in zip(scales, maps)).as_subclass(BinaryMaps)
    value.maps, value.scales, value.ordered = maps, scales, ordered
    return value


def _value(x: object) -> object:
    return x.as_subclass(Tensor) if isinstance(x, BinaryMaps) else x


def _summed(x: BinaryMaps, function: Callable[[Tensor], Tensor]) -> Tensor:
    """A linear function of the value, from the maps."""
    return sum(scale * function(m) for scale, m in zip(x.scales, x.maps))


_REARRANGE = {
    Tensor.flatten,
    Tensor.unflatten,
    Tensor.transpose,
    Tensor.permute,
    Tensor.movedim,
    Tensor.reshape,
    Tensor.view,
    Tensor.expand,
    Tensor.expand_as,
    Tensor.squeeze,
    Tensor.unsqueeze,
    Tensor.contiguous,
    Tensor.to,
    Tensor.float,
    Tensor.double,
    Tensor.roll,
    Tensor.detach,
    Tensor.__getitem__,
    torch.flatten,
}
_DESCRIBE = {
    Tensor.size,
    Tensor.stride,
    Tensor.dim,
    Tensor.numel,
    Tensor.is_contiguous,
    Tensor.is_floating_point,
    Tensor.__len__,
    Tensor.shape.__get__,
    Tensor.dtype.__get__,
    Tensor.device.__get__,
    Tensor.requires_grad.__get__,
    Tensor.ndim.__get__,
}
_SUM = {Tensor.sum, Tensor.mean, torch.sum, torch.mean}
_ADD = {Tensor.add, Tensor.__add__, Tensor.__radd__, torch.add}
_MULTIPLY = {Tensor.mul, Tensor.__mul__, Tensor.__rmul__, torch.mul}
_MATMUL = {Tensor.matmul, Tensor.__matmul__, torch.matmul}
_CONVOLVE = {torch.conv2d, F.linear}
_POOL = {F.max_pool2d, torch.max_pool2d}
_SUBTRACT = {Tensor.sub, Tensor.__sub__, Tensor.__rsub__, torch.sub}
_CONSTANT = {torch.zeros_like, torch._C._set_grad_enabled}
# Of numbers that are no spikes: affine, or (a max-pool of currents) a choice among them
_OF_CURRENTS = (
    _REARRANGE | _DESCRIBE | _SUM | _ADD | _MULTIPLY | _MATMUL | _CONVOLVE | _POOL | _SUBTRACT
) | {Tensor.as_subclass, Tensor.div, Tensor.__truediv__, F.avg_pool2d, F.batch_norm, F.pad}


class _Expansion(TorchFunctionMode):
    """Computes with the maps, and refuses by the layer's name what is not linear in them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[str] = []
        self.resting = 0
        self.products: dict[str, int] = {}

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            if self.resting:
                return func(*args, **kwargs)
            binary = [x for x in tree_leaves((args, kwargs)) if isinstance(x, BinaryMaps)]
            if not binary:
                return self._of_currents(func, args, kwargs)
            return self._of_maps(func, args, kwargs)

    def _refuse(self, func: Callable, why: str) -> None:
        layer = self.layers[-1] if self.layers else 'the model'
        name = getattr(func, '__name__', str(func))
        raise ValueError(
            f'{layer}: {name} {why}, so that the network has no equal of binary spikes'
        )

    def _of_currents(self, func: Callable, args: tuple, kwargs: dict) -> object:
        if func not in _OF_CURRENTS | _CONSTANT and not func.__name__.startswith('__get__'):
            self._refuse(func, 'is not affine')
        return func(*args, **kwargs)

    def _of_maps(self, func: Callable, args: tuple, kwargs: dict) -> object:
        x, *others = args
        rest = tree_map(_value, others)
        if func in _DESCRIBE:
            return func(_value(x), *rest, **kwargs)
        if func is Tensor.as_subclass:
            return x
        if func in _REARRANGE:
            if not isinstance(x, BinaryMaps):
                return func(x, *rest, **kwargs)
            return _binary([func(m, *rest, **kwargs) for m in x.maps], x.scales, x.ordered)
        if func in _SUM:
            return _summed(x, lambda m: func(m, *rest, **kwargs))
        if func in _CONVOLVE:
            return self._convolve(func, x, rest, kwargs)
        if func in _POOL:
            if not x.ordered:
                self._refuse(func, 'of sums of spikes is not that of their maps')
            return _binary([func(m, *rest, **kwargs) for m in x.maps], x.scales, True)
        if func in _ADD:
            return self._add(x, others[0])
        if func in _MULTIPLY or func in _MATMUL:
            return self._multiply(func, x, others[0])
        if func in _SUBTRACT:
            return self._subtract(func, x, others[0])
        self._refuse(func, 'is not linear')

    @staticmethod
    def _convolve(func: Callable, x: BinaryMaps, rest: list, kwargs: dict) -> Tensor:
        """Weights once for every map; the bias once."""
        weight, *others = rest
        bias = others.pop(0) if others else kwargs.pop('bias', None)
        y = _summed(x, lambda m: func(m, weight, None, *others, **kwargs))
        if bias is None:
            return y
        return y + (bias if func is F.linear else bias[:, None, None])

    @staticmethod
    def _add(x: object, y: object) -> Tensor:
        if isinstance(x, BinaryMaps) and isinstance(y, BinaryMaps):
            return _binary([*x.maps, *y.maps], [*x.scales, *y.scales], False)
        return _value(x) + _value(y)

    def _multiply(self, func: Callable, x: object, y: object) -> Tensor:
        """Pairs of maps, each a product of zeros and ones; a number joins the scales."""
        if not isinstance(x, Tensor) or not isinstance(y, Tensor):
            maps, number = (x, y) if isinstance(x, BinaryMaps) else (y, x)
            return _binary(maps.maps, [scale * number for scale in maps.scales], maps.ordered)
        if not isinstance(x, BinaryMaps):
            return _summed(y, lambda m: func(x, m))
        if not isinstance(y, BinaryMaps):
            return _summed(x, lambda m: func(m, y))
        pairs = list(product(zip(x.scales, x.maps), zip(y.scales, y.maps)))
        layer = self.layers[-1]
        self.products[layer] = self.products.get(layer, 0) + len(pairs)
        scales = [a * b for (a, _), (b, _) in pairs]
        products = [func(m, n) for (_, m), (_, n) in pairs]
        if func in _MATMUL:
            return sum(scale * m for scale, m in zip(scales, products))
        return _binary(products, scales, False)

    def _subtract(self, func: Callable, x: object, y: object) -> Tensor:
        """``1 - s`` of a binary map is one."""
        spikes = x if func is Tensor.__rsub__ else y
        one = y if func is Tensor.__rsub__ else x
        if one == 1 and isinstance(spikes, BinaryMaps) and spikes.scales == [1.0]:
            return _binary([1.0 - spikes.maps[0]], [1.0], True)
        return func(_value(x), _value(y))


class BinaryExpansion(nn.Module):
    """What :func:`expand_to_binary` returns; called as the model is.

    Attributes:
        model (nn.Module): The copy of the model.
        maps (dict[str, int]): Binary maps of each neuron, by its name.
        products (dict[str, int]): Of each attention, by its name, the products of two binary
            factors that the last call expanded into, instead of one of graded factors.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.maps: dict[str, int] = {}
        self.products: dict[str, int] = {}
        self._mode = _Expansion()
        for name, module in model.named_modules():
            if isinstance(module, SpikingNeuron):
                # What holds another neuron emits that one's spikes
                inner = any(isinstance(m, SpikingNeuron) for m in module.children())
                self.maps |= {} if inner else {name: module.levels}
            module.register_forward_pre_hook(self._entering(name, module))
            module.register_forward_hook(self._leaving(module), always_call=True)

    def _entering(self, name: str, module: nn.Module) -> Callable:
        def enter(_: nn.Module, args: tuple) -> tuple | None:
            if isinstance(module, _BatchNorm) and module.training:
                raise ValueError(f'{name}: a norm in training mode is not affine: call eval()')
            self._mode.layers.append(name or 'the model')
            if not isinstance(module, SpikingNeuron):
                return None
            self._mode.resting += 1
            return tuple(map(_value, args))

        return enter

    def _leaving(self, module: nn.Module) -> Callable:
        def leave(_: nn.Module, args: tuple, output: object) -> object:
            self._mode.layers.pop()
            if not isinstance(module, SpikingNeuron):
                return None
            self._mode.resting -= 1
            if self._mode.resting or output is None:
                return None
            with torch._C.DisableTorchFunction():
                counts = (output / module.unit).round()
                levels = range(1, module.levels + 1)
                maps = [(counts >= level).to(output.dtype) for level in levels]
                return _binary(maps, [module.unit] * module.levels, True)

        return leave

    @contextmanager
    def _expanding(self) -> Iterator[None]:
        self._mode.layers.clear()
        self._mode.products.clear()
        self._mode.resting = 0
        with torch.no_grad(), self._mode:
            yield
        self.products = dict(self._mode.products)

    def forward(self, *args, **kwargs) -> object:
        """The model's output, of images ``[B, C, H, W]`` or frames ``[B, T, C, H, W]``.

        Raises:
            ValueError: A layer is not affine; the message names it.
        """
        with self._expanding():
            output = self.model(*args, **kwargs)
        return tree_map(_value, output)


def expand_to_binary(model: nn.Module) -> BinaryExpansion:
    """The same network, with the output of every graded neuron as binary maps.

    A neuron of n levels of value u emits n maps ``s_j = [S >= j u]`` (a thermometer code). Linear
    layers run once for every map and are summed; bias and norm come once; a max-pool is that of
    each map; ``add`` residuals keep the maps of both addends; products of spikes, masks and
    ``q (k^T v)``, become sums of products of zeros and ones, which are counted. In float64 every
    integer is the model's own and logits agree within 1e-12.

    Args:
        model (nn.Module): Any classifier or backbone of this project; it is copied.

    Returns:
        BinaryExpansion: The network, in eval mode, to be called as the model is.
    """
    model = copy.deepcopy(model).eval()
    # Quantisation is not affine, and its result is what the layers compute with
    dequantise(model)
    return BinaryExpansion(model)
