"""Parameter groups by stage, for fine-tuning a pretrained backbone."""

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from ..checks import check_dict, check_number


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class StageOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with parameter groups by stage of ``model.backbone``.

    Stage i of S gets ``lr * stage_lr_decay ** (S - i)`` (i from 0), everything behind the backbone
    ``lr``. Each group has a ``name``, such as ``backbone.stages.0``, and one learning rate and
    weight decay; parameters that differ in these (norms) make groups of their own.

    Args:
        optim_wrapper_cfg (dict): Config of the optimizer wrapper.
        paramwise_cfg (dict | None): Keys of mmengine's ``DefaultOptimWrapperConstructor``, and
            ``stage_lr_decay`` (float, above 0 and at most 1). Defaults to None: groups of one
            rate.

    Raises:
        ValueError: ``stage_lr_decay`` is out of range, or the optimizer has no ``lr``.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        paramwise_cfg = (
            {}
            if paramwise_cfg is None
            else dict(check_dict('optim_wrapper.paramwise_cfg', paramwise_cfg))
        )
        self.decay = paramwise_cfg.pop('stage_lr_decay', 1.0)
        check_number('optim_wrapper.paramwise_cfg.stage_lr_decay', self.decay, high=1, above=0)
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        if self.base_lr is None:
            raise ValueError('optim_wrapper.optimizer.lr is missing: expected a number')
        # With no options mmengine would not call add_params at all
        self.paramwise_cfg = {**self.paramwise_cfg, 'stage_lr_decay': self.decay}

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs) -> None:
        """Adds all parameters of a model that want gradients.

        Args:
            params (list[dict]): Groups, extended in place.
            module (nn.Module): The model, with a ``backbone`` that has ``stages``.
            prefix (str): Name of the module in the model. Defaults to ''.
            **kwargs: Further arguments of mmengine's method.

        Raises:
            ValueError: The model has no such backbone.
        """
        if prefix:
            return super().add_params(params, module, prefix, **kwargs)
        stages = getattr(getattr(module, 'backbone', None), 'stages', None)
        if stages is None:
            raise ValueError(
                f"optim_wrapper.constructor='{type(self).__name__}': {type(module).__name__} has "
                'no backbone.stages'
            )
        single: list[dict] = []
        super().add_params(single, module, prefix, **kwargs)
        names = {parameter: name for name, parameter in module.named_parameters()}
        groups: dict[tuple, dict] = {}
        for group in single:
            (parameter,) = group.pop('params')
            stage = self._stage(names[parameter], len(stages))
            group['lr'] = group.get('lr', self.base_lr) * self.decay ** (len(stages) - stage)
            group['name'] = f'backbone.stages.{stage}' if stage < len(stages) else 'others'
            key = tuple(sorted(group.items()))
            groups.setdefault(key, dict(group, params=[]))['params'].append(parameter)
        params.extend(groups.values())

    @staticmethod
    def _stage(name: str, stages: int) -> int:
        """Number of the stage that a parameter belongs to; ``stages`` behind the backbone."""
        if not name.startswith('backbone.'):
            return stages
        # Neurons behind the stages, which outputs of a membrane stream pass, go with the last
        parts = name.split('.')
        return int(parts[2]) if parts[1] == 'stages' else stages - 1
