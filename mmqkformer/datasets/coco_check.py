"""Tell a broken COCO annotation file before a data set is built of it."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

# Pixels: pycocotools would draw longer edges for hours
LARGEST_SIDE = 2**20
LARGEST_ID = 2**53


class AnnotationError(ValueError):
    """An annotation file is not what its reader expects."""


def check_coco(
    key: str,
    path: str | Path,
    classes: Sequence[str] | None = None,
    masks: bool = False,
    annotated: bool = True,
    scored: bool = False,
    filter_cfg: dict | None = None,
) -> None:
    """Check everything that mmdet and pycocotools read of a COCO file of objects.

    They take a file's fields on trust: a missing or wrong one is a bare ``KeyError``, an object
    that is left out without a word, or a label of another class. The file is parsed for this check
    and once more by mmdet: docs/use_as_backbone.md tells the time.

    Args:
        key (str): Config key of the file, for errors.
        path (str | Path): The file.
        classes (Sequence[str] | None): Names of the classes, in the order of the file's
            categories, which mmdet's labels follow. Defaults to None: any.
        masks (bool): Whether masks are read as well as boxes. Defaults to False.
        annotated (bool): Whether there have to be annotations. Defaults to True.
        scored (bool): Whether predictions are compared with the file, for which each annotation has
            to say whether it is a crowd. Defaults to False.
        filter_cfg (dict | None): mmdet's filter of training images, which has to leave one.
            Defaults to None: no filter.

    Raises:
        AnnotationError: The file is broken; the error names the key, the file and the field.
    """
    try:
        content = _parsed(path)
        _expect('', content, isinstance(content, dict), 'an object with images and categories')
        sizes = dict(_images(content))
        categories = dict(_categories(content))
        if classes is not None:
            found = [name for name in categories.values() if name in set(classes)]
            expected = f'the classes {_short(list(classes))}, in this order, as in metainfo.classes'
            _expect('categories', list(categories.values()), found == list(classes), expected)
        boxed = set()
        if annotated or 'annotations' in content:
            boxed = set(_annotations(content, sizes, categories, masks, scored))
        if filter_cfg:
            smallest = filter_cfg.get('min_size', 0)
            large = {i for i, size in sizes.items() if min(size) >= smallest}
            left = large & boxed if filter_cfg.get('filter_empty_gt', False) else large
            expected = f'an image that filter_cfg={dict(filter_cfg)} leaves in the set'
            _expect('images', content['images'], bool(left), expected)
    except AnnotationError as error:
        raise AnnotationError(f'{key}={str(path)!r}: {error}') from error.__cause__


def _parsed(path: str | Path) -> object:
    try:
        return json.loads(Path(path).read_bytes().decode('utf-8'))
    except UnicodeDecodeError as error:
        raise AnnotationError(f'not UTF-8 at byte {error.start}: expected a JSON file') from error
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f'no JSON: {error}: expected a COCO file, whole') from error


def _images(content: dict) -> Iterator[tuple[int, tuple[int, int]]]:
    seen: set[int] = set()
    for where, image in _objects(content, 'images'):
        yield (
            _new_id(where, image, seen),
            tuple(_field(where, image, side, _is_side, 'pixels') for side in ('height', 'width')),
        )
        _field(where, image, 'file_name', _is_name, 'a name')
    _expect('images', content['images'], bool(seen), 'at least one')


def _categories(content: dict) -> Iterator[tuple[int, str]]:
    seen: set[int] = set()
    names: set[str] = set()
    for where, category in _objects(content, 'categories'):
        name = _field(where, category, 'name', _is_name, 'a name')
        _expect(f'{where}.name', name, name not in names, 'a name of its own')
        names.add(name)
        yield _new_id(where, category, seen), name
    _expect('categories', content['categories'], bool(seen), 'at least one')


def _annotations(
    content: dict,
    sizes: dict[int, tuple[int, int]],
    categories: Collection[int],
    masks: bool,
    scored: bool,
) -> Iterator[int]:
    """The images of the annotations."""
    seen: set[int] = set()
    for where, annotation in _objects(content, 'annotations'):
        _new_id(where, annotation, seen)
        image = _field(where, annotation, 'image_id', _is_id, 'the id of an image')
        _expect(f'{where}.image_id', image, image in sizes, 'the id of an image')
        category = _field(where, annotation, 'category_id', _is_id, 'the id of a category')
        _expect(f'{where}.category_id', category, category in categories, 'the id of a category')
        _field(where, annotation, 'bbox', _is_box, '4 numbers: left, top, width and height')
        _field(where, annotation, 'area', _is_amount, 'a number, 0 or more')
        for flag in ('iscrowd', 'ignore'):
            if flag in annotation or (scored and flag == 'iscrowd'):
                _field(where, annotation, flag, _is_flag, '0 or 1')
        if masks:
            size = sizes[image]
            expected = f'polygons of 3 points or more, or run lengths of size {list(size)}'
            _field(where, annotation, 'segmentation', partial(_is_mask, size), expected)
        yield image


def _objects(content: dict, name: str) -> Iterator[tuple[str, dict]]:
    listed = content.get(name)
    _expect(name, listed, isinstance(listed, list), 'a list')
    for i, part in enumerate(listed):
        _expect(f'{name}[{i}]', part, isinstance(part, dict), 'an object')
        yield f'{name}[{i}]', part


def _new_id(where: str, part: dict, seen: set[int]) -> int:
    number = _field(where, part, 'id', _is_id, 'an integer')
    _expect(f'{where}.id', number, number not in seen, 'a number of its own')
    seen.add(number)
    return number


def _field(
    where: str, part: dict, name: str, is_right: Callable[[object], bool], expected: str
) -> object:
    if name not in part:
        raise AnnotationError(f'{where}.{name} is missing: expected {expected}')
    _expect(f'{where}.{name}', part[name], is_right(part[name]), expected)
    return part[name]


def _expect(where: str, value: object, is_right: bool, expected: str) -> None:
    if not is_right:
        raise AnnotationError(f'{where}={_short(value)}: expected {expected}'.removeprefix('='))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:77]}...'


def _is_id(value: object) -> bool:
    return type(value) is int and abs(value) <= LARGEST_ID


def _is_side(value: object) -> bool:
    return type(value) is int and 1 <= value <= LARGEST_SIDE


def _is_name(value: object) -> bool:
    if not isinstance(value, str) or not value or '\0' in value:
        return False
    # JSON can hold halves of characters, of which no file can be named
    return not any('\ud800' <= character <= '\udfff' for character in value)


def _is_flag(value: object) -> bool:
    return isinstance(value, int) and value in (0, 1)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and -LARGEST_SIDE <= value <= LARGEST_SIDE


def _is_amount(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= LARGEST_SIDE**2


def _is_box(value: object) -> bool:
    is_box = type(value) is list and len(value) == 4 and all(map(_is_number, value))
    return is_box and value[2] >= 0 and value[3] >= 0


def _is_mask(size: tuple[int, int], value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_polygon, value))
    if not isinstance(value, dict) or value.get('size') != list(size):
        return False
    counts = value.get('counts')
    if isinstance(counts, str):
        counts = _unpacked(counts)
    is_list = isinstance(counts, list) and all(type(n) is int and n >= 0 for n in counts)
    return is_list and sum(counts) == size[0] * size[1]


def _is_polygon(value: object) -> bool:
    is_list = isinstance(value, list) and len(value) >= 6 and len(value) % 2 == 0
    return is_list and all(map(_is_number, value))


def _unpacked(text: str) -> list[int] | None:
    """Run lengths of pycocotools' text, which its C code would read past a wrong end of.

    Groups of 6 bits from character 48 on, the lowest first: 5 of the number and one that says
    whether more follow. From the fourth on, numbers are differences to the last but one.
    """
    counts: list[int] = []
    number = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > 60:
            return None
        number |= (group & 31) << shift
        shift += 5
        if not group & 32:
            if group & 16:
                number -= 1 << shift
            counts.append(number + counts[-2] if len(counts) > 2 else number)
            number = shift = 0
    return None if shift else counts
