"""Random numbers of the main process as a function of the iteration."""

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...datasets.seeding import seed_everything


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds Python, NumPy and PyTorch from (seed, rank, iteration) before each iteration.

    Mixup and drop path then depend on the iteration alone: a resumed run draws what the unbroken
    run would have drawn, on every rank, and no random state has to be kept in a checkpoint.
    """

    def before_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
    ) -> None:
        """Seeds this iteration, the accelerator included."""
        seed_everything(runner.seed, get_rank(), runner.iter)
