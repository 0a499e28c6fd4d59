"""Transforms of samples; those for event frames exist where mmpretrain is installed."""

from ...version import has_mmpretrain
from .draw_erasing import DrawErasing
from .events_to_frames import EventsToFrames, EventTimeJitter, EventTimeReversal
from .load_events import LoadEvents
from .load_image import LoadVerifiedImage
from .seed_sample import SeedSample

__all__ = [
    'DrawErasing',
    'EventTimeJitter',
    'EventTimeReversal',
    'EventsToFrames',
    'LoadEvents',
    'LoadVerifiedImage',
    'SeedSample',
]

if has_mmpretrain():
    from .event_augment import EventAugment, EventFlip, EventRoll
    from .pack_events import PackEvents

    __all__ += ['EventAugment', 'EventFlip', 'EventRoll', 'PackEvents']
