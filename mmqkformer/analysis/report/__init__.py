"""A report of a model as a page of HTML."""

from .page import Section, write_page
from .sections import Request, report_sections

__all__ = ['Request', 'Section', 'report_sections', 'write_page']
