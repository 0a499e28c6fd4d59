"""Image loading that tells which file is broken."""

import copy
import multiprocessing

from mmcv.transforms import LoadImageFromFile
from mmengine.logging import print_log
from mmengine.registry import TRANSFORMS

from ...checks import check_str


class CorruptImageError(OSError):
    """An image file cannot be decoded, or not to its end."""


@TRANSFORMS.register_module()
class LoadVerifiedImage(LoadImageFromFile):
    """Loads an image with Pillow, which notices a truncated file where OpenCV fills in grey.

    An image that is in memory already, as mmpretrain's inferencer brings it, is passed on.

    Args:
        on_error (str): ``raise`` stops at a corrupt image; ``skip`` logs it, counts it and lets the
            data set draw another sample in its place. For training only: needs ``SeedSample``
            before it, which makes the replacement reproducible. Defaults to ``raise``.
        **kwargs: Arguments of mmcv's ``LoadImageFromFile``, except ``imdecode_backend``.

    Raises:
        ValueError: ``on_error`` is unknown, or another decoder is asked for.
    """

    def __init__(self, on_error: str = 'raise', **kwargs) -> None:
        if kwargs.setdefault('imdecode_backend', 'pillow') != 'pillow':
            raise ValueError(
                f'LoadVerifiedImage.imdecode_backend={kwargs["imdecode_backend"]!r}: expected '
                "'pillow', the one that notices truncated files"
            )
        super().__init__(**kwargs)
        self.on_error = check_str('LoadVerifiedImage.on_error', on_error, ('raise', 'skip'))
        self.skipped = multiprocessing.Value('q', 0)  # one count for all workers

    def __deepcopy__(self, memo: dict) -> 'LoadVerifiedImage':
        # A part of a data set counts with the whole: shared memory cannot be copied
        return copy.copy(self)

    def transform(self, results: dict) -> dict | None:
        """Loads ``results['img_path']``.

        Returns:
            dict | None: The sample, or None if it is skipped.

        Raises:
            FileNotFoundError: There is no such file.
            CorruptImageError: The file is corrupt, and is not to be skipped or is a test's.
        """
        if 'img' in results and 'img_path' not in results:
            return results
        try:
            return super().transform(results)
        except FileNotFoundError:
            raise
        except Exception as error:
            message = f'corrupt image {results["img_path"]}: {error}'
            if self.on_error == 'raise':
                raise CorruptImageError(message) from error
            if not results.get('is_seeded'):
                raise CorruptImageError(
                    f"{message}; LoadVerifiedImage.on_error='skip' is for training pipelines, "
                    "after SeedSample: expected 'raise' here"
                ) from error
        with self.skipped.get_lock():
            self.skipped.value += 1
            print_log(f'skipped {message} ({self.skipped.value} so far)', logger='current')
        return None
