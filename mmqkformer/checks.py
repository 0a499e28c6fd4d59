"""Checks of arguments: one clear error that names the key, the value and what was expected."""

import argparse
import math
from collections.abc import Callable, Collection, Sequence
from functools import partial
from numbers import Integral, Real


def check_bool(key: str, value: object) -> bool:
    """Returns a bool; every non-empty string, ``'False'`` too, would otherwise be true.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, bool):
        raise ValueError(f'{key}={value!r}: expected True or False')
    return value


def check_int(key: str, value: object, low: int = 0, high: int | None = None) -> int:
    """Returns an integer from ``low`` to ``high``, both included.

    Raises:
        ValueError: It is none, or out of range.
    """
    is_int = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_int or value < low or (high is not None and value > high):
        bounds = f'of at least {low}' if high is None else f'from {low} to {high}'
        raise ValueError(f'{key}={value!r}: expected an integer {bounds}')
    return int(value)


def check_number(
    key: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> float:
    """Returns a finite number, ``low <= value <= high`` and ``above < value < below``.

    Raises:
        ValueError: It is none, infinite, not a number, or out of range.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not (is_number and low <= value <= high and above < value < below):
        signs = [('>=', low), ('>', above), ('<=', high), ('<', below)]
        bounds = ' and '.join(f'{sign} {bound:g}' for sign, bound in signs if math.isfinite(bound))
        raise ValueError(f'{key}={value!r}: expected a finite number{bounds and " " + bounds}')
    return value


def check_str(key: str, value: object, choices: Sequence[str] = ()) -> str:
    """Returns a string, one of ``choices`` where there are any.

    Raises:
        ValueError: It is none, or another.
    """
    if not isinstance(value, str) or (choices and value not in choices):
        expected = ' or '.join(map(repr, choices)) or 'a string'
        raise ValueError(f'{key}={value!r}: expected {expected}')
    return value


def check_list(
    key: str, value: object, check: Callable, length: int | None = None, **kwargs
) -> list:
    """Returns a list whose items pass ``check(f'{key}[{i}]', item, **kwargs)``.

    Raises:
        ValueError: It is no list or tuple, of another length, or an item does not pass.
    """
    if not isinstance(value, (list, tuple)) or length not in (None, len(value)):
        raise ValueError(f'{key}={value!r}: expected a list' + (f' of {length}' if length else ''))
    return [check(f'{key}[{i}]', item, **kwargs) for i, item in enumerate(value)]


def check_dict(key: str, value: object) -> dict:
    """Returns a dict.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, dict):
        raise ValueError(f'{key}={value!r}: expected a dict')
    return value


def check_keys(key: str, value: object, known: Collection[str], what: str) -> dict:
    """Returns a dict without keys that ``what`` does not know.

    Raises:
        ValueError: It is none, or has such a key.
    """
    for name, item in check_dict(key, value).items():
        if name not in known:
            raise ValueError(
                f'{key}.{name}={item!r}: {what} knows no such key, only {sorted(known)}'
            )
    return value


def at_least(low: int) -> Callable[[str], int]:
    """The ``type`` of a command line's argument that is an integer of at least ``low``."""
    return partial(_parse, int, partial(check_int, low=low))


def number(low: float = -math.inf, high: float = math.inf) -> Callable[[str], float]:
    """The ``type`` of a command line's argument that is a finite number in a range."""
    return partial(_parse, float, partial(check_number, low=low, high=high))


def _parse(convert: Callable, check: Callable, text: str) -> float:
    try:
        value = convert(text)
    except ValueError:
        value = text
    try:
        return check('', value)
    except ValueError as error:
        # argparse names the argument
        raise argparse.ArgumentTypeError(str(error).removeprefix('=')) from None
