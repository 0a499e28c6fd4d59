"""Mixed precision on the CPU, which mmengine's wrapper refuses."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from ..checks import check_int, check_number, check_str


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(AmpOptimWrapper):
    """mmengine's ``AmpOptimWrapper`` for the CPU: to try a mixed-precision recipe without a GPU.

    Args:
        dtype (str): ``bfloat16``, which needs no scaler, or ``float16``. Defaults to ``bfloat16``.
        loss_scale (str | float | dict | None): As in ``AmpOptimWrapper``: ``dynamic``, a fixed
            scale, or arguments of the scaler. Defaults to None: ``dynamic`` with float16, whose
            small gradients vanish otherwise, and no scaler with bfloat16.
        accumulative_counts (int): Micro-steps of an optimizer step. Defaults to 1.
        **kwargs: Further arguments of ``OptimWrapper``.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(
        self,
        dtype: str = 'bfloat16',
        loss_scale: str | float | dict | None = None,
        accumulative_counts: int = 1,
        **kwargs,
    ) -> None:
        check_str('optim_wrapper.dtype', dtype, ('bfloat16', 'float16'))
        counts = check_int('optim_wrapper.accumulative_counts', accumulative_counts, 1)
        # AmpOptimWrapper's own constructor insists on an accelerator
        OptimWrapper.__init__(self, accumulative_counts=counts, **kwargs)
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
        return dict(init_scale=check_number('optim_wrapper.loss_scale', loss_scale, above=0))
    if isinstance(loss_scale, dict):
        return dict(loss_scale)
    raise ValueError(
        f"optim_wrapper.loss_scale={loss_scale!r}: expected 'dynamic', a float, a dict or None"
    )
