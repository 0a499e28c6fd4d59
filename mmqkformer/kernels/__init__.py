"""The CUDA kernels, compiled at run time by CuPy: one source, which a C++ compiler takes as well.

They lie below all that computes with them: neurons (``mmqkformer.neurons``) and what is kept for
the backward pass (``mmqkformer.saved``).
"""

from .launch import (
    MAX_STEPS,
    OPTIONS,
    CupyLauncher,
    Launcher,
    computes,
    cupy_module,
    macros,
    source,
    wide_type,
)
from .layout import by_step, is_block, like_steps, same_steps, together

__all__ = [
    'MAX_STEPS',
    'OPTIONS',
    'CupyLauncher',
    'Launcher',
    'by_step',
    'computes',
    'cupy_module',
    'is_block',
    'like_steps',
    'macros',
    'same_steps',
    'source',
    'together',
    'wide_type',
]
