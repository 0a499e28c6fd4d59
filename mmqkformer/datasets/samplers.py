"""Sampling that a resumed run repeats exactly."""

from collections.abc import Iterator, Sized

from mmengine.dataset import DefaultSampler
from mmengine.registry import DATA_SAMPLERS

from ..checks import check_bool, check_int


class SeededIndex(int):
    """An index of a data set that brings the seed and the epoch that it was drawn in."""

    def __new__(cls, index: int, seed: int, epoch: int) -> 'SeededIndex':
        self = super().__new__(cls, index)
        self.seed = seed
        self.epoch = epoch
        return self

    def __getnewargs__(self) -> tuple[int, int, int]:
        return int(self), self.seed, self.epoch


@DATA_SAMPLERS.register_module()
class SeededSampler(DefaultSampler):
    """mmengine's ``DefaultSampler`` whose indices tell a worker the seed and the epoch.

    The transform ``SeedSample`` makes each sample's augmentation a function of them.

    Args:
        dataset (Sized): The data set.
        multiple_of (int | None): Rounds the samples of each process and epoch down to a multiple
            of this: loader batch x accumulated micro-batches, so that an epoch is a whole number
            of optimizer steps. Defaults to None, which pads to the number of processes instead.
        shuffle (bool): Whether every epoch has an order of its own. Defaults to True.
        seed (int | None): Seed of the orders. Defaults to None: one drawn for all processes.
        round_up (bool): Whether to pad to the number of processes, where ``multiple_of`` is None.
            Defaults to True.

    Raises:
        ValueError: A value is out of range, or the data set is smaller than one optimizer step.
    """

    def __init__(
        self,
        dataset: Sized,
        multiple_of: int | None = None,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        key = 'train_dataloader.sampler.'
        super().__init__(
            dataset,
            shuffle=check_bool(key + 'shuffle', shuffle),
            seed=None if seed is None else check_int(key + 'seed', seed, 0, 2**32 - 1),
            round_up=check_bool(key + 'round_up', round_up),
        )
        if multiple_of is None:
            return
        check_int(key + 'multiple_of', multiple_of, 1)
        share = len(dataset) // self.world_size
        self.num_samples = share // multiple_of * multiple_of
        if self.num_samples == 0:
            raise ValueError(
                f'train_dataloader.sampler.multiple_of={multiple_of!r}: the {len(dataset)} samples '
                f'of the data set, {share} for each of {self.world_size} processes, are fewer'
            )
        self.total_size = self.num_samples * self.world_size

    def __iter__(self) -> Iterator[SeededIndex]:
        """The indices of this process in this epoch."""
        for index in super().__iter__():
            yield SeededIndex(index, self.seed, self.epoch)
