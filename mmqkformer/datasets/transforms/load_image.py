"""Image loading that tells which file is broken."""

import multiprocessing

from mmcv.transforms import LoadImageFromFile
from mmengine.logging import print_log
from mmengine.registry import TRANSFORMS


class CorruptImageError(OSError):
    """An image file cannot be decoded, or not to its end."""


@TRANSFORMS.register_module()
class LoadVerifiedImage(LoadImageFromFile):
    """Loads an image with Pillow, which notices a truncated file where OpenCV fills in grey.

    Args:
        on_error (str): ``raise`` stops at a corrupt image; ``skip`` logs it, counts it and lets a
            training data set draw another sample in its place (a test set refuses to). Defaults to
            ``raise``.
        imdecode_backend (str): Decoder. Defaults to ``pillow``.
        **kwargs: Arguments of mmcv's ``LoadImageFromFile``.

    Raises:
        ValueError: ``on_error`` is unknown.
    """

    def __init__(self, on_error: str = 'raise', imdecode_backend: str = 'pillow', **kwargs) -> None:
        super().__init__(imdecode_backend=imdecode_backend, **kwargs)
        if on_error not in ('raise', 'skip'):
            raise ValueError(f"LoadVerifiedImage.on_error={on_error!r}: expected 'raise' or 'skip'")
        self.on_error = on_error
        self.skipped = multiprocessing.Value('q', 0)  # one count for all workers

    def transform(self, results: dict) -> dict | None:
        """Loads ``results['img_path']``.

        Returns:
            dict | None: The sample, or None if it is skipped.

        Raises:
            FileNotFoundError: There is no such file.
            CorruptImageError: The file is corrupt and ``on_error='raise'``.
        """
        try:
            return super().transform(results)
        except FileNotFoundError:
            raise
        except Exception as error:
            message = f'corrupt image {results["img_path"]}: {error}'
            if self.on_error == 'raise':
                raise CorruptImageError(message) from error
        with self.skipped.get_lock():
            self.skipped.value += 1
            print_log(f'skipped {message} ({self.skipped.value} so far)', logger='current')
        return None
