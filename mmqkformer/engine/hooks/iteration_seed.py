"""Random numbers of the main process as a function of the iteration."""

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...datasets.seeding import ITERATIONS, seed_everything


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds Python, NumPy and PyTorch from (seed, rank, iteration) before each iteration.

    Mixup and drop path then depend on the iteration alone: a resumed run draws what the unbroken
    run would have drawn, on every rank, and no random state has to be kept in a checkpoint. Where
    the config sets no seed, a resumed run goes on with the one in the checkpoint, shuffling too.
    """

    def before_run(self, runner: Runner) -> None:
        """Notes the seed that the training loader was built with."""
        self._built_with = runner.seed

    def before_train(self, runner: Runner) -> None:
        """Gives the sampler the seed of the checkpoint, which mmengine reads after building it."""
        sampler = runner.train_dataloader.sampler
        if getattr(sampler, 'seed', None) == self._built_with:
            sampler.seed = runner.seed

    def before_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
    ) -> None:
        """Seeds this iteration, the accelerator included."""
        seed_everything(ITERATIONS, runner.seed, get_rank(), runner.iter)
