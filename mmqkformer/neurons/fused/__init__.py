"""A neuron in one pass with what stands around it, where CUDA kernels compute it.

Each function says which modules it stands for, and runs those where the kernels do not compute
the call: on other devices, of other dynamics, of nothing, in compiled graphs, and where a module
has hooks, which are to see what passes it. In half precision the kernels keep float32 from the
input to the spike, where modules round in between.
"""

from .attention import token_attention
from .norm import norm_and_fire
from .pool import pool_and_fire, pooled, steps_are_equal
from .residual import fire_and_add

__all__ = [
    'fire_and_add',
    'norm_and_fire',
    'pool_and_fire',
    'pooled',
    'steps_are_equal',
    'token_attention',
]
