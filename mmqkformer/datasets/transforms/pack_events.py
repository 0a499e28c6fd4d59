"""From a sample's frames to what the data loader stacks."""

from collections.abc import Sequence

import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from mmpretrain.structures import DataSample

from ...checks import check_list, check_str


@TRANSFORMS.register_module()
class PackEvents(BaseTransform):
    """Packs ``frames`` to ``inputs``, float32 ``[T, 2, H, W]``, and the rest to a ``DataSample``.

    Args:
        meta_keys (Sequence[str]): What of the sample its ``DataSample`` keeps, where it is there.
            Defaults to the index, the source and the shapes.
    """

    def __init__(
        self,
        meta_keys: Sequence[str] = ('sample_idx', 'events_source', 'ori_shape', 'img_shape'),
    ) -> None:
        self.meta_keys = tuple(check_list('PackEvents.meta_keys', meta_keys, check_str))

    def transform(self, results: dict) -> dict:
        """Packs the sample."""
        sample = DataSample()
        if 'gt_label' in results:
            sample.set_gt_label(results['gt_label'])
        sample.set_metainfo({key: results[key] for key in self.meta_keys if key in results})
        return dict(inputs=torch.from_numpy(results['frames']), data_samples=sample)
