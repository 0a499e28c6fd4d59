"""What tensors are made of while a network runs: spikes of a known value, or analogue numbers."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Number

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
# Whole numbers up to the rounding of float32 in the few operations that lead to a value
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Origin:
    """What a tensor that depends on the network's input is made of.

    Attributes:
        made_of (str): In words, such as ``spikes``, ``the image`` or ``currents of head.fc``.
        unit (float | None): The value of one spike where it holds whole numbers of them; None where
            it is analogue.
        folds (bool): Whether a layer with weights has just made it, into which a norm folds.
            Defaults to False.
    """

    made_of: str
    unit: float | None = None
    folds: bool = False


def numbers_of_spikes(x: Tensor, unit: float) -> Tensor | None:
    """The whole numbers ``x / unit``, in the shape and type of ``x``, float32 at least.

    Args:
        x (Tensor): Values of any shape.
        unit (float): The value of one spike.

    Returns:
        Tensor | None: The numbers; None if some are negative or no whole ones.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    numbers = wide if unit == 1 else wide / unit
    whole = numbers.round()
    if numbers.numel() and whole.min() < 0:
        return None
    if torch.equal(numbers, whole) or (numbers - whole).abs().max() < _ROUNDING:
        return whole
    return None


class Origins:
    """The origins of the tensors of a running network, by the operators that make them.

    An origin is that of a storage, so that a view has that of what it looks at. A tensor without
    one does not depend on the input: it is made of weights and constants.

    ========================================= =====================================================
    operator                                  what it makes of spikes of value u
    ========================================= =====================================================
    copies, choices, maxima, sums             spikes of value u
    sums of two, of values u and v            spikes of the smaller, if the other is a multiple
    times or divided by a number c            spikes of value ``u c`` or ``u / c``
    products of two, of values u and v        spikes of value ``u v``
    means over more than one, any other       analogue numbers
    products with weights                     analogue numbers
    ========================================= =====================================================

    Attributes:
        notes (dict[tuple[str, str], bool]): By module and remark, what is done to what depends on
            the input beside additions of spikes; and whether it folds into weights or thresholds.
    """

    def __init__(self) -> None:
        self._of: dict[int, Origin] = {}
        self.notes: dict[tuple[str, str], bool] = {}

    def start(self, x: Tensor) -> None:
        """Forgets all tensors, and begins with the input of a network."""
        what = 'the frames of events' if x.dim() == 5 else 'the image'
        counts = numbers_of_spikes(x, 1.0) is not None
        self._of = {_storage(x): Origin(what, 1.0 if counts else None)}

    def get(self, x: Tensor) -> Origin | None:
        """The origin of a tensor; None of what does not depend on the input."""
        return self._of.get(_storage(x))

    def set(self, output: object, origin: Origin | None) -> None:
        """Notes the origin of all tensors of an output."""
        for x in _tensors(output):
            if origin is None:
                # Memory is used again: what is new has not the origin of what is gone
                self._of.pop(_storage(x), None)
            else:
                self._of[_storage(x)] = origin

    def follow(
        self, module: str, func: OpOverload, args: tuple, kwargs: Mapping, result: object
    ) -> None:
        """Notes the origin of what an operator, run by a module, has made of its arguments."""
        given = list(_tensors((args, kwargs)))
        made = list(_tensors(result))
        if not func._schema.is_mutable:
            before = {_storage(x) for x in given}
            made = [x for x in made if _storage(x) not in before]
        if not made:
            return
        origins = [origin for x in given if (origin := self.get(x)) is not None]
        origin = None
        if origins and func.overloadpacket not in _EMPTY:
            constants = [x for x in tree_leaves(args[:2]) if isinstance(x, Number)]
            constants += [x for x in given if self.get(x) is None]
            call = _Call(self, module, func.overloadpacket, given, origins, constants, made[0])
            origin = _RULES.get(call.packet, _other)(call)
        self.set(made, origin)


@dataclass(frozen=True)
class _Call:
    """An operator on something that depends on the input."""

    origins_of: Origins
    module: str
    packet: object
    given: list[Tensor]
    origins: list[Origin]
    constants: list[Tensor | Number]
    made: Tensor

    @property
    def analogue(self) -> Origin | None:
        return next((origin for origin in self.origins if origin.unit is None), None)

    def note(self, remark: str, folds: bool) -> None:
        self.origins_of.notes[self.module, remark] = folds


def _kept(call: _Call) -> Origin:
    if call.analogue is not None:
        return Origin(call.analogue.made_of)
    units = [origin.unit for origin in call.origins]
    smallest = min(units)
    if not all(_is_multiple(unit, smallest) for unit in units):
        return Origin('spikes of several values')
    return Origin(call.origins[0].made_of, smallest)


def _maximum(call: _Call) -> Origin:
    if call.analogue is not None:
        call.note(f'compares {call.analogue.made_of} (a maximum)', folds=False)
    return _kept(call)


def _added(call: _Call) -> Origin:
    kept = _kept(call)
    if kept.unit is None:
        several = len(call.origins) > 1 and call.analogue is not None
        return Origin('sums of currents') if several else kept
    numbers = [_number(constant) for constant in call.constants]
    if any(number is None or not _is_multiple(number, kept.unit) for number in numbers):
        return Origin(f'{kept.made_of} and constants')
    return Origin('sums of spikes' if len(call.origins) > 1 else kept.made_of, kept.unit)


def _scaled(call: _Call) -> Origin:
    divides = call.packet in (aten.div, aten.div_)
    if len(call.origins) == 1:
        call.note(f'scales {call.origins[0].made_of} by a constant', folds=True)
        number = _number(call.constants[0]) if len(call.constants) == 1 else None
        unit = call.origins[0].unit
        if not number or number < 0 or unit is None:
            return Origin(call.origins[0].made_of)
        return Origin(call.origins[0].made_of, unit / number if divides else unit * number)
    if divides:
        return _other(call)
    if call.analogue is not None:
        if all(origin.unit is None for origin in call.origins):
            call.note(f'multiplies {call.analogue.made_of} with each other', folds=False)
        return Origin(call.analogue.made_of)
    units = [origin.unit for origin in call.origins]
    if all(float(x.max()) > 1.5 * unit for x, unit in zip(call.given, units)):
        call.note('multiplies two numbers of spikes', folds=False)
    return Origin('products of spikes', math.prod(units))


def _mean(call: _Call) -> Origin:
    if call.made.numel() == call.given[0].numel():
        return call.origins[0]
    made_of = call.origins[0].made_of
    return Origin(made_of if made_of.startswith('means') else f'means of {made_of}')


def _normed(call: _Call) -> Origin:
    if not call.origins[0].folds:
        call.note(f'normalises {call.origins[0].made_of}, behind no layer to fold into', False)
    return call.origins[0]


def _product(call: _Call) -> Origin:
    if len(call.origins) == 1 or call.analogue is not None:
        return Origin(f'currents of {call.module or "the model"}', folds=len(call.origins) == 1)
    return Origin('products of spikes', math.prod(origin.unit for origin in call.origins))


def _other(call: _Call) -> Origin:
    call.note(f'computes {call.packet} of {call.origins[0].made_of}', folds=False)
    return Origin(call.origins[0].made_of)


_EMPTY = {
    aten.empty_like,
    aten.zeros_like,
    aten.ones_like,
    aten.full_like,
    aten.new_empty,
    aten.new_zeros,
    aten.new_ones,
    aten.new_full,
}
_KEEPING = (
    aten.clone,
    aten._to_copy,
    aten.copy_,
    aten.cat,
    aten.stack,
    aten.index,
    aten.roll,
    aten.flip,
    aten.repeat,
    aten.constant_pad_nd,
    aten.where,
    aten.sum,
    aten.upsample_nearest2d,
)
_NORMS = (
    aten.native_batch_norm,
    aten._native_batch_norm_legit,
    aten._native_batch_norm_legit_no_training,
    aten.cudnn_batch_norm,
    aten.native_group_norm,
    aten.native_layer_norm,
)
_RULES: dict[object, Callable[[_Call], Origin]] = {
    **dict.fromkeys(flop_registry, _product),
    **dict.fromkeys(_KEEPING, _kept),
    **dict.fromkeys((aten.max_pool2d_with_indices, aten.amax, aten.maximum), _maximum),
    **dict.fromkeys((aten.add, aten.add_, aten.sub, aten.sub_, aten.rsub), _added),
    **dict.fromkeys((aten.mul, aten.mul_, aten.div, aten.div_), _scaled),
    **dict.fromkeys((aten.mean, aten.avg_pool2d, aten._adaptive_avg_pool2d), _mean),
    **dict.fromkeys(_NORMS, _normed),
}


def _storage(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _tensors(tree: object) -> Iterator[Tensor]:
    return (x for x in tree_leaves(tree) if isinstance(x, Tensor))


def _number(constant: Tensor | Number) -> float | None:
    """A constant as a number; None of a tensor of several."""
    if isinstance(constant, Tensor):
        return float(constant) if constant.numel() == 1 else None
    return float(constant)


def _is_multiple(value: float, unit: float) -> bool:
    return abs(value / unit - round(value / unit)) < _ROUNDING
