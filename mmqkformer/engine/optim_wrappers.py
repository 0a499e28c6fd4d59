"""Mixed precision on the CPU, which mmengine's wrapper refuses."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(AmpOptimWrapper):
    """mmengine's ``AmpOptimWrapper`` for the CPU: to try a mixed-precision recipe without a GPU.

    Args:
        dtype (str): ``bfloat16``, which needs no scaler, or ``float16``. Defaults to ``bfloat16``.
        loss_scale (str | float | dict | None): As in ``AmpOptimWrapper``: ``dynamic``, a fixed
            scale, or arguments of the scaler. Defaults to None: ``dynamic`` with float16, whose
            small gradients vanish otherwise, and no scaler with bfloat16.
        **kwargs: Arguments of ``OptimWrapper``.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(
        self,
        dtype: str = 'bfloat16',
        loss_scale: str | float | dict | None = None,
        **kwargs,
    ) -> None:
        if dtype not in ('bfloat16', 'float16'):
            raise ValueError(f"optim_wrapper.dtype={dtype!r}: expected 'bfloat16' or 'float16'")
        # AmpOptimWrapper's own constructor insists on an accelerator
        OptimWrapper.__init__(self, **kwargs)
        self.cast_dtype = getattr(torch, dtype)
        self._scale_update_param = loss_scale if isinstance(loss_scale, float) else None
        self.loss_scaler = torch.amp.GradScaler('cpu', **_scaler_arguments(loss_scale, dtype))

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast on the CPU; no gradient synchronisation within an accumulation group."""
        with (
            OptimWrapper.optim_context(self, model),
            torch.autocast('cpu', dtype=self.cast_dtype),
        ):
            yield


def _scaler_arguments(loss_scale: str | float | dict | None, dtype: str) -> dict:
    if loss_scale is None:
        return dict(enabled=dtype == 'float16')
    if loss_scale == 'dynamic':
        return {}
    if isinstance(loss_scale, float):
        return dict(init_scale=loss_scale)
    if isinstance(loss_scale, dict):
        return dict(loss_scale)
    raise ValueError(
        f"optim_wrapper.loss_scale={loss_scale!r}: expected 'dynamic', a float, a dict or None"
    )
