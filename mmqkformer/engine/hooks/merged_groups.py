"""Runs that were begun with one parameter group per parameter."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class MergedGroupsHook(Hook):
    """Gives the schedulers of a resumed run the groups that its optimizer has.

    A scheduler's state holds a value of each group. Where a checkpoint has one group per parameter
    and :class:`MergedOptimWrapperConstructor` merged them, the values are read from the merged
    groups, which the optimizer's state was loaded into.
    """

    def before_train_epoch(self, runner: Runner) -> None:
        """Looks at every scheduler, since a run may have gone back to an old checkpoint."""
        schedulers = runner.param_schedulers or []
        if isinstance(schedulers, dict):
            schedulers = [one for several in schedulers.values() for one in several]
        for scheduler in schedulers:
            groups = scheduler.optimizer.param_groups
            if len(scheduler.base_values) != len(groups):
                name = scheduler.param_name
                scheduler.base_values = [group[f'initial_{name}'] for group in groups]
                scheduler._last_value = [group[name] for group in groups]
