"""From a stream of events to the frames of a network, and changes of the stream before."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from ...checks import check_number
from ..events import Events
from ..events.frames import check_frames, events_to_frames


@TRANSFORMS.register_module()
class EventsToFrames(BaseTransform):
    """Counts events per time slice, polarity and pixel: ``events`` become ``frames``.

    Sets ``frames``, float32 ``[T, 2, H, W]`` (channel 0 OFF, 1 ON), and ``img_shape``.

    Args:
        time_steps (int): Frames T; as many as the network's ``time_steps``.
        split_by (str): ``number``, slices of equally many events, or ``time``, of equal length.
            Defaults to ``number``.
        size (Sequence[int] | None): Height and width of the frames, if not the sensor's. Defaults
            to None.

    Raises:
        ValueError: An argument is out of range.
        EventError: A recording has fewer events than ``time_steps``.
    """

    def __init__(
        self, time_steps: int, split_by: str = 'number', size: Sequence[int] | None = None
    ) -> None:
        check_frames(time_steps, split_by, size)
        self.time_steps = time_steps
        self.split_by = split_by
        self.size = None if size is None else tuple(size)

    def transform(self, results: dict) -> dict:
        """Makes the frames."""
        results['frames'] = events_to_frames(
            results.pop('events'),
            self.time_steps,
            self.split_by,
            self.size,
            results.get('events_source', 'events'),
        )
        results['img_shape'] = results['frames'].shape[-2:]
        return results


@TRANSFORMS.register_module()
class EventTimeJitter(BaseTransform):
    """Shifts every event in time by chance, ``t + N(0, std_us)``, and sorts them again.

    Times stay between the first and the last of the recording.

    Args:
        std_us (float): Standard deviation in microseconds.

    Raises:
        ValueError: It is negative.
    """

    def __init__(self, std_us: float) -> None:
        self.std_us = check_number('EventTimeJitter.std_us', std_us, low=0)

    def transform(self, results: dict) -> dict:
        """Changes ``events``."""
        events = results['events']
        t = events.t.astype(np.int64)
        shifted = t + np.rint(np.random.normal(0, self.std_us, len(t))).astype(np.int64)
        shifted = np.clip(shifted, t[0], t[-1])
        order = np.argsort(shifted, kind='stable')
        moved = Events(shifted, events.x, events.y, events.p, events.sensor_size)
        results['events'] = moved[order]
        return results


@TRANSFORMS.register_module()
class EventTimeReversal(BaseTransform):
    """Plays a recording backwards: what got brighter gets darker.

    Args:
        prob (float): How often. Defaults to 0.5.

    Raises:
        ValueError: It is no probability.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = check_number('EventTimeReversal.prob', prob, low=0, high=1)

    def transform(self, results: dict) -> dict:
        """Changes ``events``."""
        if np.random.random() < self.prob:
            events = results['events'][::-1]
            t = events.t.astype(np.int64)
            results['events'] = Events(
                t[0] + t[-1] - t, events.x, events.y, 1 - events.p, events.sensor_size
            )
        return results
