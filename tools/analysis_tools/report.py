"""Write a report of a classifier: one page of HTML that needs nothing else.

Parameters, operations, energy, firing rates by layer and step, what of it is additions of spikes,
attention over time, accuracy with fewer steps, memory of the attention and, given the folder of the
training, its curves over a reference.
"""

import argparse
import datetime
import hashlib
from pathlib import Path

from mmqkformer.analysis.subject import Subject, add_subject_arguments, open_subject
from mmqkformer.checks import at_least
from mmqkformer.engine.checkpoints import local_file
from mmqkformer.files import disk_errors_in_one_line
from mmqkformer.report import Request, report_sections, write_page
from mmqkformer.version import __version__


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_subject_arguments(parser, images=256)
    parser.add_argument('--out', type=Path, help='file (default: <work_dir>/report.html)')
    parser.add_argument(
        '--samples',
        type=at_least(0),
        nargs='*',
        default=[0, 1],
        help='images of the test set whose attention is drawn, from 0 (default: 0 1)',
    )
    parser.add_argument('--run', type=Path, metavar='DIR', help='work directory of the training')
    parser.add_argument('--reference', help='released curve, CSV file or folder to compare with')
    args = parser.parse_args()
    if (args.run is None) != (args.reference is None):
        parser.error('--run and --reference: expected both or neither')
    return args


def subtitle(subject: Subject, checkpoint: str | None) -> str:
    """Weights with their hash, date and version."""
    weights = 'random weights'
    if checkpoint is not None:
        digest = hashlib.sha256(local_file(checkpoint).read_bytes()).hexdigest()
        weights = f'{Path(checkpoint).name} (SHA-256 {digest[:12]})'
    return f'{weights} · {datetime.date.today()} · mmqkformer {__version__}'


def main() -> None:
    args = parse_args()
    try:
        subject = open_subject(args)
        out = args.out or Path(subject.cfg.work_dir) / 'report.html'
        # Now, not behind the work
        out.parent.mkdir(parents=True, exist_ok=True)
        request = Request(args.images, args.samples, args.run, args.reference)
        sections = report_sections(subject, request)
        write_page(out, subject.name, subtitle(subject, args.checkpoint), sections)
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
    print(f'report: {out}')


if __name__ == '__main__':
    with disk_errors_in_one_line():
        main()
