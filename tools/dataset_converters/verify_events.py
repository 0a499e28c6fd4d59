"""Verify stores of events: every recording's checksum, and whether the sensor has its pixels.

DST is a store, or the folder that a preparation wrote its stores into. What is damaged is named;
then the exit code is 1.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from mmqkformer.datasets.events import EventError
from mmqkformer.datasets.events.store import EventStore


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('dst', help='a store, or the folder of stores')
    return parser.parse_args()


def verify(path: Path) -> bool:
    """Whether a store is whole; names what is damaged."""
    try:
        store = EventStore(path)
    except EventError as error:
        print(f'error: {error}', file=sys.stderr)
        return False
    damaged = 0
    for index in tqdm(range(len(store)), desc=str(path), unit='recording'):
        try:
            store.verify_recording(index)
        except EventError as error:
            damaged += 1
            tqdm.write(f'error: {error}', file=sys.stderr)
    print(f'{path}: {len(store)} recordings, {damaged} damaged')
    return not damaged


def main() -> None:
    dst = Path(parse_args().dst)
    # One that is being prepared is hidden
    stores = sorted(path.parent for path in dst.glob('[!.]*/meta.json')) or [dst]
    if not all([verify(path) for path in stores]):
        raise SystemExit(1)


if __name__ == '__main__':
    main()
