"""Learning-rate schedules of the paper's recipes, in closed form."""

import math
import warnings

from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import INF, OptimizerType, _ParamScheduler
from mmengine.registry import PARAM_SCHEDULERS

from ..checks import check_bool, check_int, check_number, check_str


class WarmupCosineParamScheduler(_ParamScheduler):
    """See :class:`WarmupCosineLR`."""

    def __init__(
        self,
        optimizer: OptimizerType,
        param_name: str,
        max_epochs: float,
        warmup_epochs: float = 0,
        warmup_start: float = 0.0,
        eta_min: float = 0.0,
        cosine_from: str = 'warmup',
        epoch_offset: float = 0,
        accumulative_counts: int | None = None,
        epoch_length: int = 1,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        key = 'param_scheduler.'
        self.max_epochs = check_number(key + 'max_epochs', max_epochs, above=0)
        self.warmup_epochs = check_number(
            key + 'warmup_epochs', warmup_epochs, low=0, below=max_epochs
        )
        self.warmup_start = check_number(key + 'warmup_start', warmup_start, low=0)
        self.eta_min = check_number(key + 'eta_min', eta_min, low=0)
        self.cosine_from = check_str(key + 'cosine_from', cosine_from, ('warmup', 'start'))
        self.epoch_offset = check_number(key + 'epoch_offset', epoch_offset, low=0)
        check_bool(key + 'by_epoch', by_epoch)
        check_bool(key + 'verbose', verbose)
        check_int(key + 'end', end, 1)
        check_int(key + 'begin', begin, 0, end - 1)
        check_int(key + 'last_step', last_step, -1)
        self.epoch_length = check_int(key + 'epoch_length', epoch_length, 1)
        self.accumulative_counts = _counts(accumulative_counts, optimizer, by_epoch)
        super().__init__(
            optimizer,
            param_name=param_name,
            begin=begin,
            end=end,
            last_step=last_step,
            by_epoch=by_epoch,
            verbose=verbose,
        )

    @classmethod
    def build_iter_from_epoch(
        cls,
        *args,
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        **kwargs,
    ) -> 'WarmupCosineParamScheduler':
        """Builds a scheduler that steps every iteration from arguments in epochs.

        Raises:
            ValueError: ``by_epoch`` is false, or the length of an epoch is unknown.
        """
        check_number('param_scheduler.end', end, above=0)
        check_number('param_scheduler.begin', begin, low=0, below=end)
        if not by_epoch or not epoch_length:
            raise ValueError(
                f'param_scheduler.convert_to_iter_based: expected by_epoch=True and an epoch of '
                f'known length, got by_epoch={by_epoch!r} and {epoch_length!r} iterations'
            )
        return cls(
            *args,
            begin=int(begin * epoch_length),
            end=end if end == INF else int(end * epoch_length),
            by_epoch=False,
            epoch_length=epoch_length,
            **kwargs,
        )

    def step(self) -> None:
        """Sets the rates of the next iteration or epoch."""
        micro_steps = getattr(self.optimizer, '_inner_count', 0)
        if self._global_step == 0 and 0 < micro_steps < self.accumulative_counts:
            # mmengine warns that a value of the schedule is skipped before the first optimizer
            # step. None is: that step ends a group of micro-steps, over which the rate is held.
            with warnings.catch_warnings():
                warnings.filterwarnings('ignore', r'Detected call of `scheduler\.step\(\)`')
                super().step()
        else:
            super().step()

    def _get_value(self) -> list[float]:
        # Inside a group of accumulated micro-steps the rate is that of its first
        step = self.last_step // self.accumulative_counts * self.accumulative_counts
        epoch = self.epoch_offset + step / self.epoch_length
        return [self._value_at(epoch, base) for base in self.base_values]

    def _value_at(self, epoch: float, base: float) -> float:
        if epoch < self.warmup_epochs:
            return self.warmup_start + (base - self.warmup_start) * epoch / self.warmup_epochs
        if epoch >= self.max_epochs:
            return self.eta_min
        start = self.warmup_epochs if self.cosine_from == 'warmup' else 0
        progress = (epoch - start) / (self.max_epochs - start)
        return self.eta_min + (base - self.eta_min) * 0.5 * (1.0 + math.cos(math.pi * progress))


def _counts(value: int | None, optimizer: OptimizerType, by_epoch: bool) -> int:
    if value is not None:
        check_int('param_scheduler.accumulative_counts', value, 1)
    if by_epoch:
        expected, reason = 1, 'of a scheduler that steps by epoch'
    elif isinstance(optimizer, OptimWrapper):
        expected, reason = optimizer._accumulative_counts, 'optim_wrapper.accumulative_counts'
    else:
        expected, reason = value or 1, 'or more'
    if value not in (None, expected):
        raise ValueError(
            f'param_scheduler.accumulative_counts={value!r}: expected {expected}, {reason}'
        )
    return expected


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(LRSchedulerMixin, WarmupCosineParamScheduler):
    """Linear warm-up, then a cosine, then the minimum: every recipe of the paper.

    With e the epoch (fractional where the scheduler steps every iteration), W, M the epochs of
    warm-up and cosine, and s = W or 0 the epoch that the cosine is counted from::

        e < W:  warmup_start + (lr - warmup_start) e / W
        e < M:  eta_min + (lr - eta_min) (1 + cos(pi (e - s) / (M - s))) / 2
        else:   eta_min

    ImageNet: ``convert_to_iter_based=True``, W = 5, M = 200, s = W. CIFAR and events: by epoch,
    s = 0, and 10 more epochs at the minimum.

    Args:
        optimizer (Optimizer | OptimWrapper): Its groups' rates are the peaks ``lr``.
        max_epochs (float): Epoch M at which the cosine ends.
        warmup_epochs (float): Epochs W of warm-up. Defaults to 0.
        warmup_start (float): Rate at epoch 0. Defaults to 0.0.
        eta_min (float): Rate at the end. Defaults to 0.0.
        cosine_from (str): ``warmup`` counts the cosine from the end of the warm-up, ``start`` from
            epoch 0. Defaults to ``warmup``.
        epoch_offset (float): Epoch at which training enters the schedule, for fine-tuning at its
            end. Defaults to 0.
        accumulative_counts (int | None): Micro-steps of an optimizer step, over which the rate is
            held; for schedulers that step every iteration. Defaults to None: as in
            ``optim_wrapper.accumulative_counts``, from which it may not differ.
        epoch_length (int): Iterations of an epoch; given by ``convert_to_iter_based``. Defaults
            to 1.
        begin, end, last_step, by_epoch, verbose: As in mmengine's schedulers.

    Raises:
        ValueError: A value is out of range.
    """
