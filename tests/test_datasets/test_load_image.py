"""Images of every mode that Pillow knows become 8 bits of blue, green and red."""

import io

import cv2
import mmcv
import numpy as np
import pytest
from mmengine.registry import TRANSFORMS
from PIL import Image

import mmqkformer  # noqa: F401

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)
GREY = np.arange(256, dtype=np.uint8)[None].repeat(4, 0)
COLOUR = np.stack([GREY, GREY[:, ::-1], GREY // 2], axis=-1)


def load(path, **kwargs):
    sample = TRANSFORMS.build(dict(type='LoadVerifiedImage', **kwargs))(dict(img_path=str(path)))
    assert sample['img_shape'] == sample['ori_shape'] == sample['img'].shape[:2]
    return sample['img']


@pytest.mark.parametrize('name', ['grey.png', 'grey.tif', 'grey.pgm', 'big-endian.tif'])
def test_a_ramp_of_16_bits_is_a_ramp_of_8(tmp_path, name):
    path = tmp_path / name
    if name == 'big-endian.tif':
        Image.frombytes('I;16B', RAMP.shape, RAMP.astype('>u2').tobytes()).save(path)
    elif name == 'grey.pgm':
        cv2.imwrite(str(path), RAMP)
    else:
        Image.fromarray(RAMP).save(path)
    loaded = load(path)
    assert loaded.dtype == np.uint8
    assert np.array_equal(loaded, (RAMP // 256)[..., None].repeat(3, axis=2))
    assert (load(path, color_type='grayscale') == RAMP // 256).all()
    assert load(path, to_float32=True).dtype == np.float32


@pytest.mark.parametrize('suffix', ['png', 'tif', 'ppm'])
def test_grey_is_scaled_as_colour(tmp_path, suffix):
    path = tmp_path / f'colour.{suffix}'
    cv2.imwrite(str(path), RAMP[..., None].repeat(3, axis=2))
    expected = cv2.imread(str(path), cv2.IMREAD_COLOR)
    difference = np.abs(load(path).astype(int) - expected)
    # OpenCV, or Pillow for PPM, rounds where the other takes the high byte
    assert difference.max() <= 1
    assert np.abs(load(path)[..., 0].astype(int) - RAMP // 256).max() <= 1


def test_16_bits_are_turned_as_the_camera_was(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RAMP).save(tmp_path / 'turned.png', exif=exif)
    turned = (RAMP // 256)[::-1].T
    assert np.array_equal(load(tmp_path / 'turned.png')[..., 0], turned)
    kept = load(tmp_path / 'turned.png', color_type='color_ignore_orientation')
    assert np.array_equal(kept[..., 0], RAMP // 256)


def test_an_unchanged_image_keeps_its_16_bits(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / 'grey.png')
    assert np.array_equal(load(tmp_path / 'grey.png', color_type='unchanged'), RAMP)


@pytest.mark.parametrize(('mode', 'dtype'), [('I', np.int32), ('F', np.float32)])
@pytest.mark.parametrize('on_error', ['raise', 'skip'])
def test_32_bits_are_refused_by_name(tmp_path, mode, dtype, on_error):
    Image.fromarray(RAMP.astype(dtype)).save(tmp_path / 'deep.tif')
    message = rf'^image .*deep\.tif: its pixels have 32 bits \(mode {mode}\), .*: expected 8 or 16'
    with pytest.raises(ValueError, match=message):
        load(tmp_path / 'deep.tif', on_error=on_error)


@pytest.mark.parametrize(
    'encoded',
    [
        ('1', 'PNG', {}),
        ('L', 'PNG', {}),
        ('L', 'PNG', dict(transparency=5)),
        ('LA', 'PNG', {}),
        ('P', 'PNG', {}),
        ('P', 'PNG', dict(transparency=3)),
        ('P', 'GIF', {}),
        ('RGB', 'PNG', {}),
        ('RGBA', 'PNG', {}),
        ('CMYK', 'JPEG', {}),
        ('YCbCr', 'TIFF', {}),
        ('LAB', 'TIFF', {}),
    ],
    ids=str,
)
def test_other_modes_are_as_mmcv_reads_them(tmp_path, encoded):
    mode, kind, options = encoded
    content = io.BytesIO()
    Image.fromarray(COLOUR).convert(mode).save(content, kind, **options)
    (tmp_path / 'image').write_bytes(content.getvalue())
    expected = mmcv.imfrombytes(content.getvalue(), backend='pillow')
    assert expected.std() > 10
    assert np.array_equal(load(tmp_path / 'image'), expected)


def test_a_missing_file_is_passed_over_on_request(tmp_path):
    transform = TRANSFORMS.build(dict(type='LoadVerifiedImage', ignore_empty=True))
    assert transform(dict(img_path=str(tmp_path / 'none.png'))) is None
