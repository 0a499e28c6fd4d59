"""Sampling that a resumed run repeats exactly, and sampling that keeps neighbours together."""

from collections.abc import Iterator, Sized

import mmengine
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS
from mmengine.utils import digit_version
from torch.utils.data import Sampler

from ..checks import check_bool, check_int

# The first mmengine that collects results of which some processes have more than others
_COLLECTS_UNEQUAL_PARTS = '0.10.3'


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


@DATA_SAMPLERS.register_module()
class ContiguousBatchSampler(Sampler):
    """Divides a test by whole batches: a sample has the same neighbours on any number of processes.

    mmengine's ``DefaultSampler`` deals samples out in turn; of 8 processes, each sees every eighth.
    Where neighbours matter (``release_batch_leak=True``), process r instead takes the r-th part of
    the list of batches that a single process would take. No sample is taken twice; the parts differ
    by one batch at most. For validation and testing, beside a sampler that does not shuffle::

        val_dataloader = dict(batch_sampler=dict(type='ContiguousBatchSampler'))

    Args:
        sampler (Sampler): ``dataloader.sampler`` as mmengine builds it, of which the data set is
            taken.
        batch_size (int): ``dataloader.batch_size``, which mmengine hands over.

    Raises:
        ValueError: ``sampler`` shuffles.
        ImportError: There are several processes, whose results this mmengine would not collect.
    """

    def __init__(self, sampler: DefaultSampler, batch_size: int) -> None:
        if getattr(sampler, 'shuffle', False):
            raise ValueError(
                f'sampler.shuffle={sampler.shuffle!r}: expected False beside '
                "batch_sampler.type='ContiguousBatchSampler'"
            )
        rank, world_size = get_dist_info()
        collects = digit_version(mmengine.__version__) >= digit_version(_COLLECTS_UNEQUAL_PARTS)
        if world_size > 1 and not collects:
            raise ImportError(
                f"batch_sampler.type='ContiguousBatchSampler' with {world_size} processes needs "
                f'mmengine>={_COLLECTS_UNEQUAL_PARTS}; {mmengine.__version__} is installed'
            )
        self.size = len(sampler.dataset)
        self.batch_size = check_int('dataloader.batch_size', batch_size, 1)
        share, longer = divmod(-(-self.size // batch_size), world_size)
        first = rank * share + min(rank, longer)
        self.batches = range(first, first + share + (rank < longer))

    def __iter__(self) -> Iterator[list[int]]:
        """The indices of each batch of this process."""
        for batch in self.batches:
            start = batch * self.batch_size
            yield list(range(start, min(start + self.batch_size, self.size)))

    def __len__(self) -> int:
        """The number of batches of this process."""
        return len(self.batches)
