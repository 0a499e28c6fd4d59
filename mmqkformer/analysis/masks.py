"""Token masks of Q-K attention, recorded from a forward pass."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..layers import AttentionMap
from .record import recording


def record_token_masks(backbone: nn.Module, forward: Callable[[], object]) -> dict[str, Tensor]:
    """Runs a forward pass and returns what each attention with a mask of tokens lets through.

    Args:
        backbone (nn.Module): Network that holds the attentions.
        forward (Callable): Runs the network, without arguments.

    Returns:
        dict[str, Tensor]: Masks A_t (paper, Eq. 10), ``[T, B, heads, H, W]``, of 0 and 1 behind a
        binary neuron, by the attention's name in the network, in its order.

    Raises:
        ValueError: No attention has such a mask.
    """
    with torch.no_grad(), recording(backbone, _over_tokens) as maps:
        forward()
    return {name.rpartition('.')[0]: calls[-1] for name, calls in maps.items() if calls}


def _over_tokens(name: str, module: nn.Module) -> bool:
    """A mask of tokens."""
    return isinstance(module, AttentionMap) and module.over == 'tokens'
