"""Running means of spikes, by which an attention scales its products."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .time import wide_dtype


class RunningRate(nn.Module):
    """The running mean r of the spikes of each head, which a batch changes before it is used.

    In training ``r <- (1 - momentum) r + momentum mean(spikes)``, and the mean itself while no
    head has an r yet (all are 0); in eval mode r stays. It carries no gradient, and as the
    statistics of a norm it belongs to the weights: it is in the state dict, each process has that
    of its own batches, and a sample does not depend on its batch in eval mode.

    Args:
        num_heads (int): Heads h.

    Attributes:
        momentum (float | None): Weight of a batch, 0.001; 0 changes nothing. As in a norm, None is
            the plain mean over the batches since ``reset_running_stats``.
        rate (Tensor): A buffer, r, ``[1, 1, h, 1, 1]``.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.momentum: float | None = 0.001
        self.rate: Tensor
        self.num_batches_tracked: Tensor
        self.register_buffer('rate', torch.zeros(1, 1, num_heads, 1, 1))
        # Counted for the plain mean only, and so in no checkpoint
        self.register_buffer('num_batches_tracked', torch.tensor(0), persistent=False)

    def reset_running_stats(self) -> None:
        """Forgets all batches."""
        self.rate.zero_()
        self.num_batches_tracked.zero_()

    def forward(self, spikes: Tensor) -> Tensor:
        """``[T, B, h, d, N]`` spikes to ``[1, 1, h, 1, 1]``, above 0.

        A head without spikes so far, of which r is 0, counts as one that always fires (1): its
        sums of spikes, 0, may be divided by the result, and a network that was never trained gives
        finite numbers.
        """
        if self.training and self.momentum != 0:
            self._update(spikes.detach())
        return torch.where(self.rate > 0, self.rate, 1.0)

    def _update(self, spikes: Tensor) -> None:
        batch = spikes.mean((0, 1, 3, 4), keepdim=True, dtype=wide_dtype(spikes))
        batch = batch.to(self.rate.dtype)
        self.num_batches_tracked += 1
        weight = 1.0 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.rate.copy_(torch.where(self.rate.any(), self.rate, batch).lerp(batch, weight))

    def extra_repr(self) -> str:
        return f'num_heads={self.rate.numel()}'


# What a forward pass in training changes beside the gradients
RUNNING = (_BatchNorm, RunningRate)
