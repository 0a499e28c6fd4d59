"""Data sets of event recordings, read from the stores that the preparation writes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from ..checks import check_str
from .events import EventError, Events
from .events.aedat import DVS128
from .events.classes import CIFAR10, GESTURES
from .events.frames import slice_bounds
from .events.store import EventStore
from .events.stream import check_size
from .transforms.events_to_frames import EventsToFrames
from .transforms.seed_sample import SeedSample


@DATASETS.register_module()
class EventDataset(BaseDataset):
    """Recordings of ``<data_root>/<split>``, a store of ``tools/dataset_converters``.

    A sample has ``store`` (the folder), ``recording`` (its number there), ``file`` (where it came
    from) and ``gt_label``; the transform ``LoadEvents`` reads the events. Samples lie in the order
    of the store.

    Args:
        data_root (str): Folder of the stores.
        split (str): Name of one of them. Defaults to ``train``.
        sensor_size (Sequence[int] | None): Height and width that the store's sensor must have.
            Defaults to None: that of the data set, here any.
        **kwargs: Arguments of mmengine's ``BaseDataset``.

    Raises:
        EventError: There is no store, it is damaged or of another layout, or its classes or its
            sensor are not those of this data set.
        ValueError: ``sensor_size`` is no height and width.
    """

    SENSOR_SIZE: tuple[int, int] | None = None

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        sensor_size: Sequence[int] | None = None,
        **kwargs,
    ) -> None:
        check_str('dataset.data_root', data_root)
        self.split = check_str('dataset.split', split)
        self.sensor_size = self.SENSOR_SIZE if sensor_size is None else sensor_size
        if self.sensor_size is not None:
            check_size(self.sensor_size, 'dataset.sensor_size')
        super().__init__(
            ann_file='', data_root=data_root, **{'test_mode': split != 'train', **kwargs}
        )

    def load_data_list(self) -> list[dict]:
        """Reads the manifest of the store."""
        path = Path(self.data_root) / self.split
        store = EventStore(path)
        classes = self._metainfo.setdefault('classes', store.classes)
        if tuple(classes) != tuple(store.classes):
            raise EventError(
                f'{path}: field classes: {list(store.classes)}: expected {list(classes)}, the '
                f'classes of {type(self).__name__}'
            )
        if self.sensor_size is not None and store.sensor_size != tuple(self.sensor_size):
            raise EventError(
                f'{path / "meta.json"}: field sensor_size: {store.sensor_size}: expected '
                f'{tuple(self.sensor_size)}: prepare the store with this --sensor-size, or set '
                'dataset.sensor_size'
            )
        return [
            dict(store=str(path), recording=i, file=recording.file, gt_label=recording.label)
            for i, recording in enumerate(store.recordings)
        ]


@DATASETS.register_module()
class CIFAR10DVS(EventDataset):
    """CIFAR10-DVS (Li et al., Frontiers in Neuroscience 2017), 10,000 recordings, 128 x 128.

    Images of CIFAR-10 moved on a screen before an event camera. Prepared by
    ``tools/dataset_converters/prepare_cifar10dvs.py``, by class and then by file name. Arguments
    as for :class:`EventDataset`.
    """

    METAINFO = {'classes': CIFAR10}  # noqa: RUF012 - mmengine's way
    SENSOR_SIZE = DVS128


@DATASETS.register_module()
class DVS128Gesture(EventDataset):
    """DVS128 Gesture (Amir et al., CVPR 2017), 11 hand and arm gestures, 128 x 128.

    Prepared by ``tools/dataset_converters/prepare_dvs128gesture.py``.

    Args:
        label_order (str): ``number``, gesture 1 is label 0; or ``folder``, the order in which the
            public release of QKFormer numbers classes and samples: its folders are named 0 to 10
            and sorted as text, so that gesture 11 (folder 10) comes third, as label 2; samples by
            class, then by recording. Defaults to ``number``.
        **kwargs: Arguments of :class:`EventDataset`.

    Raises:
        ValueError: ``label_order`` is unknown.
    """

    METAINFO = {'classes': GESTURES}  # noqa: RUF012 - mmengine's way
    SENSOR_SIZE = DVS128

    def __init__(self, label_order: str = 'number', **kwargs) -> None:
        self.label_order = check_str('dataset.label_order', label_order, ('number', 'folder'))
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """Reads the manifest of the store."""
        data_list = super().load_data_list()
        if self.label_order == 'folder':
            order = sorted(range(len(GESTURES)), key=str)
            self._metainfo['classes'] = tuple(GESTURES[label] for label in order)
            for info in data_list:
                info['gt_label'] = order.index(info['gt_label'])
            data_list.sort(key=lambda info: (info['gt_label'], info['file']))
        return data_list


def record_steps(dataset: BaseDataset, index: int) -> tuple[Events, np.ndarray, np.ndarray, dict]:
    """Runs the pipeline of a data set and keeps what pictures show.

    ``SeedSample`` is left out, since no sampler brings a seed: seed the generators before.

    Args:
        dataset (BaseDataset): A data set of events.
        index (int): The recording.

    Returns:
        tuple: The events that become frames; where they are cut, ``[T + 1]``; the frames of the
        network ``[T, 2, H, W]``, augmented as the pipeline says; and the packed sample.

    Raises:
        ValueError: The pipeline has no ``EventsToFrames``.
    """
    info, events, bounds = dataset.get_data_info(index), None, None
    for transform in dataset.pipeline.transforms:
        if isinstance(transform, SeedSample):
            continue
        if isinstance(transform, EventsToFrames):
            events = info['events']
            bounds = slice_bounds(events.t, transform.time_steps, transform.split_by)
        info = transform(info)
    if events is None:
        raise ValueError('dataset.pipeline: has no EventsToFrames: expected a data set of events')
    return events, bounds, info['inputs'].numpy(), info
