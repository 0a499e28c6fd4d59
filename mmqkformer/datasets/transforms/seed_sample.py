"""Augmentation as a function of seed, epoch and index."""

from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from ..samplers import SeededIndex
from ..seeding import SAMPLES, seed_cpu


@TRANSFORMS.register_module()
class SeedSample(BaseTransform):
    """Seeds the CPU's generators from (seed, epoch, index); the first of a training pipeline.

    A sample is then augmented alike whatever the number of workers and whatever was loaded before,
    in a resumed run as in an unbroken one. Python's, NumPy's and PyTorch's generators are seeded,
    those of accelerators left alone. Needs ``train_dataloader.sampler.type='SeededSampler'``.
    """

    def __init__(self) -> None:
        self._seeded = False

    def transform(self, results: dict) -> dict:
        """Seeds the generators and marks the sample with ``is_seeded``.

        Raises:
            TypeError: The index brings no seed.
        """
        index = results.get('sample_idx')
        if isinstance(index, SeededIndex):
            self._seeded = True
            # Samples are made on the CPU; to seed the accelerators costs more than a small sample
            seed_cpu(SAMPLES, index.seed, index.epoch, index)
        elif not self._seeded:
            raise TypeError(
                'SeedSample: the index of the sample brings no seed; expected '
                "train_dataloader.sampler.type='SeededSampler', directly on the data set"
            )
        # else: a replacement for a sample that was skipped, drawn by that sample's own stream
        results['is_seeded'] = True
        return results
