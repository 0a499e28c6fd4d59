"""A training that starts from weights which fit in part."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from torch import Tensor

from ...layers.quant import quantised_layers
from ..checkpoints import shorten, unwrap, weights_of


@HOOKS.register_module()
class PartialLoadHook(Hook):
    """Lets ``load_from`` start a training with layers that the checkpoint does not have.

    Without it, ``SpikingClsHead`` refuses a checkpoint of other classes. With it, layers that are
    missing or of another shape start anew, and one line of the log names their weights. The
    backbone has to fit all the same; resuming and testing are not changed. ``tools/train.py`` uses
    it of its own accord; elsewhere, name it in ``custom_hooks``.
    """

    # Before the hook that averages weights, which loads them too
    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Completes the checkpoint with the model's own initial weights, in place."""
        if runner._resume or not isinstance(runner._train_loop, BaseLoop):
            return
        given = weights_of(checkpoint, runner._load_from)
        own = unwrap(runner.model).state_dict()
        fitting = {key for key, value in own.items() if _has_shape(given.get(key), value)}
        # A layer starts anew as a whole
        layers = {_layer(key) for key in own.keys() - fitting if key in given}
        new = [
            key
            for key in own
            if not key.startswith('backbone.') and (key not in fitting or _layer(key) in layers)
        ]
        # These are made of the weights that are loaded
        steps = {
            f'{layer}.{key}'
            for layer in quantised_layers(unwrap(runner.model))
            for key in ('alpha', 'init_state')
        }
        state_dict = checkpoint.get('state_dict', checkpoint)
        for key in new:
            state_dict.pop(f'module.{key}', None)
            state_dict.pop(key, None)
            if key not in steps:
                state_dict[key] = own[key]
        told = [key for key in new if not key.endswith('num_batches_tracked') and key not in steps]
        if told:
            runner.logger.warning(
                f'load_from={runner._load_from!r}: {len(told)} weights of the model are missing '
                f'in it or of another shape and stay at their initial values: {shorten(told)}'
            )


def _has_shape(value: object, own: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == own.shape


def _layer(key: str) -> str:
    return key.rpartition('.')[0]
