"""What keeps a value of a checkpoint from being a weight of a model."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..layers.quant import optional_steps

_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_INTEGERS = {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


def weight_fault(value: object, dtype: torch.dtype | None = None) -> str | None:
    """Tells why a value cannot become a weight.

    Args:
        value (object): Value of a state dict.
        dtype (torch.dtype | None): Type of the model's weight. Defaults to None, any.

    Returns:
        str | None: The fault in a few words; None if the value is a dense tensor of numbers that
        are finite in ``dtype`` as well.
    """
    if not isinstance(value, Tensor):
        return f'{type(value).__name__} instead of a tensor'
    if value.is_meta:
        return 'without values (meta)'
    if value.is_nested or value.layout != torch.strided:
        return f'nested or of layout {value.layout} instead of dense'
    if value.dtype not in _FLOATS | _INTEGERS:
        return f'of {value.dtype}'
    if dtype is not None and value.is_floating_point() != dtype.is_floating_point:
        return f'of {value.dtype} instead of {dtype}'
    if _overlaps(value):
        return f'expanded or overlapping (shape {list(value.shape)}, stride {list(value.stride())})'
    if not value.to(dtype or value.dtype).isfinite().all():
        return 'not finite'
    return None


def _overlaps(value: Tensor) -> bool:
    """Whether elements may share memory: each dimension must step over those below it."""
    reach = 1
    for stride, size in sorted(zip(value.stride(), value.shape)):
        if size > 1 and stride < reach:
            return True
        reach += (size - 1) * stride
    return False


def refuse_misfit(
    module: nn.Module,
    state_dict: Mapping[str, object],
    prefix: str,
    name: str,
    hint: str,
    optional: tuple[str, ...] = (),
) -> None:
    """Refuses a load that would leave weights of a module at random values, or not finite.

    For a module's ``_load_from_state_dict``: mmengine loads checkpoints (``Pretrained``,
    ``load_from``, ``get_model``) without strictness and only warns.

    Args:
        module (nn.Module): Module that is to be loaded.
        state_dict (Mapping[str, object]): What it is loaded from.
        prefix (str): The module's prefix in it.
        name (str): Name of the module in the error.
        hint (str): What may be wrong, or a way out.
        optional (tuple[str, ...]): Beginnings of names that may be missing, besides batch counts
            and, of float weights, the steps of quantised ones.

    Raises:
        RuntimeError: Weights are missing or unusable; the message names some.
    """
    optional = (*optional, *optional_steps(module, state_dict, prefix))
    faults = []
    for key, own in module.state_dict().items():
        if prefix + key not in state_dict:
            if not key.endswith('num_batches_tracked') and not key.startswith(optional):
                faults.append(f'{key} missing')
            continue
        value = state_dict[prefix + key]
        if fault := weight_fault(value, own.dtype):
            faults.append(f'{key} {fault}')
        elif value.shape != own.shape:
            faults.append(f'{key} {list(value.shape)} instead of {list(own.shape)}')
    if faults:
        raise RuntimeError(
            f'checkpoint does not fit the {name}: {len(faults)} weights, e.g. '
            f'{", ".join(faults[:3])}; {hint}'
        )
