"""Parameter groups: as few as there are options, and by stage for fine-tuning a backbone."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from mmengine.logging import MMLogger, print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import Tensor, nn
from torch.optim import Optimizer

from ..checks import check_dict, check_number


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with the parameters of equal options in one group.

    mmengine makes a group, and logs a line, of each parameter; the optimizer then updates one
    tensor after the other. Every parameter keeps its learning rate and weight decay. Optimizer
    states of runs with one group per parameter load into the merged groups; such a run goes on bit
    for bit, but for gradients clipped by their norm, which is summed in another order. The
    schedulers of such a run need :class:`MergedGroupsHook`.

    Args:
        optim_wrapper_cfg (dict): Config of the optimizer wrapper.
        paramwise_cfg (dict | None): Keys of mmengine's ``DefaultOptimWrapperConstructor``.
            Defaults to None: one group.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Builds the optimizer wrapper of a model."""
        wrapper = super().__call__(model)
        wrapper.optimizer.register_load_state_dict_pre_hook(
            partial(_merge_saved_groups, list(model.parameters()))
        )
        return wrapper

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs) -> None:
        """Adds all parameters of a model that want gradients.

        Args:
            params (list[dict]): Groups, extended in place.
            module (nn.Module): The model.
            prefix (str): Name of the module in the model. Defaults to ''.
            **kwargs: Further arguments of mmengine's method.

        Raises:
            ValueError: Two modules share a parameter, and ``bypass_duplicate`` is not set.
        """
        if prefix:
            return super().add_params(params, module, prefix, **kwargs)
        single: list[dict] = []
        with _without_a_line_per_parameter():
            super().add_params(single, module, prefix, **kwargs)
        names = {parameter: name for name, parameter in module.named_parameters()}
        merged: list[dict] = []
        for options in single:
            (parameter,) = options.pop('params')
            if parameter not in names:
                raise ValueError(
                    'two modules share a parameter: expected '
                    'optim_wrapper.paramwise_cfg.bypass_duplicate=True'
                )
            options = self._options(names.pop(parameter), options)
            for group in merged:
                if {**group, 'params': None} == {**options, 'params': None}:
                    break
            else:
                merged.append(group := {**options, 'params': []})
            group['params'].append(parameter)
        for group in merged:
            options = ''.join(f', {key}={value}' for key, value in group.items() if key != 'params')
            print_log(f'parameter group: {len(group["params"])} tensors{options}', 'current')
        if frozen := sum(not parameter.requires_grad for parameter in module.parameters()):
            print_log(f'in no group: {frozen} tensors with requires_grad=False', 'current')
        params.extend(merged)

    def _options(self, name: str, options: dict) -> dict:
        """Options of a parameter's group, from those that mmengine gives the parameter."""
        return options


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class StageOptimWrapperConstructor(MergedOptimWrapperConstructor):
    """Merged groups with learning rates by stage of ``model.backbone``.

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
        """Adds all parameters of a model with a ``backbone`` that has ``stages``.

        Args:
            params (list[dict]): Groups, extended in place.
            module (nn.Module): The model.
            prefix (str): Name of the module in the model. Defaults to ''.
            **kwargs: Further arguments of mmengine's method.

        Raises:
            ValueError: The model has no such backbone.
        """
        if not prefix:
            stages = getattr(getattr(module, 'backbone', None), 'stages', None)
            if stages is None:
                raise ValueError(
                    f"optim_wrapper.constructor='{type(self).__name__}': {type(module).__name__} "
                    'has no backbone.stages'
                )
            self.stages = len(stages)
        super().add_params(params, module, prefix, **kwargs)

    def _options(self, name: str, options: dict) -> dict:
        stage = self._stage(name)
        lr = options.get('lr', self.base_lr) * self.decay ** (self.stages - stage)
        group = f'backbone.stages.{stage}' if stage < self.stages else 'others'
        return {**options, 'lr': lr, 'name': group}

    def _stage(self, name: str) -> int:
        """Number of the stage that a parameter belongs to; that of all behind the backbone."""
        if not name.startswith('backbone.'):
            return self.stages
        # Neurons behind the stages, which outputs of a membrane stream pass, go with the last
        parts = name.split('.')
        return int(parts[2]) if parts[1] == 'stages' else self.stages - 1


@contextmanager
def _without_a_line_per_parameter() -> Iterator[None]:
    """mmengine logs hundreds of lines, each parameter's options, with no switch for it."""

    def keep(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not (
            message.startswith('paramwise_options -- ')
            or message.endswith('is skipped since its requires_grad=False')
        )

    logger = MMLogger.get_current_instance()
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def _merge_saved_groups(order: list[Tensor], optimizer: Optimizer, state_dict: dict) -> dict | None:
    """Merges the groups of a saved state that has one per parameter as the optimizer's are.

    Args:
        order (list[Tensor]): The model's parameters, in the order of those groups.
        optimizer (Optimizer): Optimizer that the state is about to be loaded into.
        state_dict (dict): The saved state.

    Returns:
        dict | None: The state with merged groups; None if it fits as it is.

    Raises:
        ValueError: The state has other groups, or the options of parameters in one group differ.
    """
    saved, groups = state_dict['param_groups'], optimizer.param_groups
    sizes = [[len(group['params']) for group in part] for part in (saved, groups)]
    if sizes[0] == sizes[1]:
        return None
    if sizes[0] != [1] * sum(sizes[1]):
        raise ValueError(
            f'optimizer state: groups of {sizes[0]} parameters, expected {sizes[1]} or one for '
            "each; the run's optim_wrapper.paramwise_cfg or its model differ from the config's"
        )
    trained = {parameter for group in groups for parameter in group['params']}
    of_parameter = dict(zip([p for p in order if p in trained], saved, strict=True))
    merged = []
    for group in groups:
        parts = [of_parameter[parameter] for parameter in group['params']]
        first = {**parts[0], 'params': [part['params'][0] for part in parts]}
        for part in parts:
            for key in part:
                if key != 'params' and part[key] != first[key]:
                    raise ValueError(
                        f'optimizer state: {key}={part[key]!r} and {first[key]!r} for parameters '
                        'of one group; optim_wrapper.paramwise_cfg differs from that of the run'
                    )
        merged.append(first)
    return {**state_dict, 'param_groups': merged}
