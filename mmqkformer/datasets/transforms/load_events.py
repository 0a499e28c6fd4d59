"""Reads a recording, from a store or from a file of one's own."""

import functools
from collections.abc import Sequence

from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from ..events import Events
from ..events.files import read_events
from ..events.store import EventStore
from ..events.stream import check_size

# Opened once in each process
_open_store = functools.lru_cache(maxsize=16)(EventStore)


@TRANSFORMS.register_module()
class LoadEvents(BaseTransform):
    """Sets ``events``, ``events_source`` (for messages) and ``ori_shape``.

    A sample brings ``store`` and ``recording``, as those of ``EventDataset`` do; or
    ``events_path``, a ``.aedat`` or ``.npz`` file; or ``events`` already, which are checked.

    Args:
        sensor_size (Sequence[int]): Height and width of the sensor of ``events_path``. Defaults to
            128 x 128.
        verify (bool): Whether the first reading of a recording of a store, in every process,
            compares its checksum. Defaults to True.

    Raises:
        EventError: The recording cannot be read or is damaged.
        ValueError: ``sensor_size`` is no height and width, or ``verify`` neither True nor False.
        KeyError: The sample brings none of them.
    """

    def __init__(self, sensor_size: Sequence[int] = (128, 128), verify: bool = True) -> None:
        check_size(sensor_size, 'LoadEvents.sensor_size')
        if not isinstance(verify, bool):
            raise ValueError(f'LoadEvents.verify={verify!r}: expected True or False')
        self.sensor_size = tuple(sensor_size)
        self.verify = verify

    def transform(self, results: dict) -> dict:
        """Reads the events."""
        if 'store' in results:
            store = _open_store(results['store'], self.verify)
            events = store[results['recording']]
            source = f'{results["store"]}: {store.recordings[results["recording"]].file}'
        elif 'events_path' in results:
            source = str(results['events_path'])
            events = read_events(source, self.sensor_size)
        elif isinstance(results.get('events'), Events):
            source = 'events'
            events = results['events'].checked(source)
        else:
            raise KeyError(
                f'LoadEvents: a sample with {sorted(results)}: expected store and recording, or '
                'events_path, or events'
            )
        results['events'] = events
        results['events_source'] = source
        results['ori_shape'] = events.sensor_size
        return results
