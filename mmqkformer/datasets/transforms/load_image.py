"""Image loading that tells which file is broken."""

import copy
import io
import multiprocessing

import numpy as np
from mmcv.image.io import _pillow2array
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from mmengine.logging import print_log
from mmengine.registry import TRANSFORMS
from PIL import Image

from ...checks import check_str


class CorruptImageError(OSError):
    """An image file cannot be decoded, or not to its end."""


class PixelRangeError(ValueError):
    """An image file does not tell which of its values is white."""


@TRANSFORMS.register_module()
class LoadVerifiedImage(LoadImageFromFile):
    """Loads an image with Pillow, which notices a truncated file where OpenCV fills in grey.

    16 bits a channel become 8 by their high byte (v // 256), in grey images as Pillow does it in
    coloured ones and OpenCV in both; Pillow alone would clip grey ones to white. Pixels of 32 bits
    have no known range and are refused. An image that is in memory already, as mmpretrain's
    inferencer brings it, is passed on.

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
            PixelRangeError: The pixels have 32 bits.
        """
        if 'img' in results and 'img_path' not in results:
            return results
        try:
            return self._load(results)
        except PixelRangeError:
            raise
        except Exception as error:
            if self.ignore_empty:
                return None
            if isinstance(error, FileNotFoundError):
                raise
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

    def _load(self, results: dict) -> dict:
        path = results['img_path']
        if self.file_client_args is not None:
            client = fileio.FileClient.infer_client(self.file_client_args, path)
            content = client.get(path)
        else:
            content = fileio.get(path, backend_args=self.backend_args)
        with Image.open(io.BytesIO(content)) as image:
            if self.color_type != 'unchanged':
                image = _of_8_bits(image, path)
            pixels = _pillow2array(image, self.color_type)
        if self.to_float32:
            pixels = pixels.astype(np.float32)
        results.update(img=pixels, img_shape=pixels.shape[:2], ori_shape=pixels.shape[:2])
        return results


def _of_8_bits(image: Image.Image, path: str) -> Image.Image:
    # Pillow gives 16-bit PGM files, and before version 11 16-bit PNG files, the mode of 32 bits
    if image.mode.startswith('I;16') or (image.mode == 'I' and image.format in ('PNG', 'PPM')):
        exif = image.getexif()
        image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
        image.info['exif'] = exif.tobytes()
    elif image.mode in ('I', 'F'):
        raise PixelRangeError(
            f'image {path}: its pixels have 32 bits (mode {image.mode}), of which white is not '
            'known: expected 8 or 16 bits a channel'
        )
    return image
