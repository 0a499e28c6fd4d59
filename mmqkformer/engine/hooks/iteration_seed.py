"""Random numbers of the main process as a function of the iteration."""

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...checks import check_int
from ...datasets.seeding import ITERATIONS, seed_everything


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds Python, NumPy and PyTorch from (seed, rank, iteration) before each iteration.

    Mixup and drop path then depend on the iteration alone: a resumed run draws what the unbroken
    run would have drawn, on every rank, and no random state has to be kept in a checkpoint. Where
    the config sets no seed, a resumed run goes on with the one in the checkpoint, shuffling too.

    Args:
        data_seed (int | None): Seed for the rest of a run, instead of the checkpoint's: other
            batches, where those of the seed so far end in a loss that is not finite. Later
            checkpoints hold it. Defaults to None.

    Raises:
        ValueError: ``data_seed`` is no seed.
    """

    def __init__(self, data_seed: int | None = None) -> None:
        if data_seed is not None:
            check_int('default_hooks.iteration_seed.data_seed', data_seed, 0, 2**32 - 1)
        self.data_seed = data_seed

    def before_run(self, runner: Runner) -> None:
        """Notes the seed that the training loader was built with."""
        self._built_with = runner.seed

    def before_train(self, runner: Runner) -> None:
        """Gives the sampler the seed of the checkpoint, which mmengine reads after building it."""
        if self.data_seed is not None:
            runner.logger.info(f'from here on data are drawn with seed {self.data_seed}')
            reseed(runner, self.data_seed)
            return
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


def reseed(runner: Runner, seed: int) -> None:
    """Goes on with another seed: of iterations, shuffling, augmentation and later checkpoints.

    Args:
        runner (Runner): Runner that trains.
        seed (int): The seed.
    """
    runner._randomness_cfg.update(seed=seed)
    runner.set_randomness(**runner._randomness_cfg)
    sampler = runner.train_dataloader.sampler
    if hasattr(sampler, 'seed'):
        sampler.seed = seed
