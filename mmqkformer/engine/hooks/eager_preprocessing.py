"""Data preprocessing that stays out of the compiled train step."""

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..checkpoints import unwrap


@HOOKS.register_module()
class EagerPreprocessingHook(Hook):
    """Keeps the data preprocessor out of what the config key ``compile`` compiles.

    mmengine compiles the whole train step, the data preprocessor in it. Mixup and CutMix index a
    batch with ``torch.randperm(B)``, which Inductor's pattern for ``torch.randperm(B)[:n]`` matches
    without finding its ``n``: ``Not all inputs to pattern found in match.kwargs`` (PyTorch issue
    188223). They also draw from NumPy, which a graph cannot.
    """

    def before_train(self, runner: Runner) -> None:
        """Comes after ``torch.compile`` has wrapped the step and before its first call."""
        if runner.cfg.get('compile'):
            preprocessor = unwrap(runner.model).data_preprocessor
            preprocessor.forward = torch.compiler.disable(preprocessor.forward)
