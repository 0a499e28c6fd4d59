"""A report of a model as a page of HTML."""

from .page import Chart, Films, Section, Table, Text, Tiles, write_page
from .sections import Request, report_sections

__all__ = [
    'Chart',
    'Films',
    'Request',
    'Section',
    'Table',
    'Text',
    'Tiles',
    'report_sections',
    'write_page',
]
