"""Configurations as plain data: nothing in them can run, and two of them can be compared."""

import json
from collections.abc import Iterator, Mapping

from mmengine.config import Config

_ABSENT = 'absent'
_SHOWN_CHARACTERS = 60
# They say how a run was started, not what it is
_STARTING = ('load_from', 'resume')


def config_to_json(cfg: Config) -> str:
    """A configuration as JSON, for a checkpoint.

    Tuples become lists, sets sorted lists; of types and functions the dotted name is kept, of other
    objects the text.

    Args:
        cfg (Config): Configuration of a runner, lazy or of text.

    Returns:
        str: One JSON object.
    """
    return json.dumps(_to_data(cfg.to_dict()))


def config_differences(before: str, after: str) -> list[str]:
    """Where two configurations differ.

    Args:
        before (str): JSON of :func:`config_to_json`.
        after (str): Another.

    Returns:
        list[str]: ``key: value before -> value after``, sorted by the dotted keys.

    Raises:
        ValueError: One is no JSON object.
    """
    old, new = (dict(_leaves(_parse(text))) for text in (before, after))
    return [
        f'{key}: {_show(old.get(key, _ABSENT))} -> {_show(new.get(key, _ABSENT))}'
        for key in sorted(old.keys() | new.keys())
        if not key.startswith(_STARTING) and repr(old.get(key, ...)) != repr(new.get(key, ...))
    ]


def _to_data(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _to_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_data(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_to_data(item) for item in value), key=repr)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, 'tolist'):  # arrays, tensors and NumPy's numbers
        return value.tolist()
    if hasattr(value, '__qualname__'):
        return f'{value.__module__}.{value.__qualname__}'
    return str(value)


def _parse(text: str) -> dict:
    try:
        data = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f'no configuration: {error}') from error
    if not isinstance(data, dict):
        raise ValueError(f'no configuration: {type(data).__name__}')
    return data


def _leaves(data: object, key: str = '') -> Iterator[tuple[str, object]]:
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for name, value in items:
        path = f'{key}.{name}' if key else str(name)
        if isinstance(value, (dict, list)) and value:
            yield from _leaves(value, path)
        else:
            yield path, value


def _show(value: object) -> str:
    text = value if value is _ABSENT else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f'{text[:_SHOWN_CHARACTERS]}...'
