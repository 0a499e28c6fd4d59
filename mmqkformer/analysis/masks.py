"""Token masks of Q-K attention, recorded from a forward pass."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..layers import QKTokenAttention


def record_token_masks(backbone: nn.Module, forward: Callable[[], object]) -> dict[str, Tensor]:
    """Runs a forward pass and returns what each Q-K token attention lets through.

    Args:
        backbone (nn.Module): Network that holds the attentions.
        forward (Callable): Runs the network, without arguments.

    Returns:
        dict[str, Tensor]: Masks A_t of 0 and 1 (paper, Eq. 10), ``[T, B, heads, H, W]``, by the
        attention's name in the network, in its order.
    """
    masks: dict[str, Tensor] = {}
    handles = []

    def record(name: str) -> Callable:
        def hook(module: nn.Module, args: tuple, out: Tensor) -> None:
            masks[name] = out.squeeze(3)  # [T, B, h, 1, H, W]

        return hook

    for name, module in backbone.named_modules():
        if isinstance(module, QKTokenAttention):
            handles.append(module.mask_neuron.register_forward_hook(record(name)))
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return masks
