"""What heads of dense prediction make of their input."""

from torch import Tensor

from ..spikes import plain_tensor


def stream_of(x: Tensor, head: str) -> Tensor:
    """A level ``[T, B, C, H, W]`` of a neck, as a plain tensor.

    Args:
        x (Tensor): The level.
        head (str): Path of the head in the model, for the error.

    Raises:
        ValueError: It has no time axis.
    """
    if x.dim() != 5:
        raise ValueError(
            f'{head} fires at every time step: expected levels [T, B, C, H, W], got '
            f"{list(x.shape)}: set neck.out='stream' (SpikingFPN)"
        )
    return plain_tensor(x)
