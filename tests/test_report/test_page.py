"""The page that a report is written as."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from mmqkformer.report.page import (
    Chart,
    Films,
    Section,
    Table,
    Text,
    Tiles,
    picture,
    write_page,
)

VOID = {'meta', 'source', 'img', 'input'}


class Tags(HTMLParser):
    """Elements by name, and whether all are closed in order."""

    def __init__(self, html):
        super().__init__()
        self.found, self.open = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


def bars(figure):
    figure.subplots().bar(['a', 'b'], [1, 2])


def films(steps):
    grey = [np.full((8, 8, 3), 60 * t, np.uint8) for t in range(steps)]
    return Films([('one', [picture(x) for x in grey]), ('two', [picture(x) for x in grey])], steps)


@pytest.fixture
def page(tmp_path):
    sections = [
        Section('Summary', [Text('Beware <of> this', warning=True), Tiles([('rate', '0.1', 'x')])]),
        Section('Is it spikes?', [Chart.of(bars, 'two bars'), films(3)]),
        Section('Layers', [Table(('a', 'b'), [('x', '1'), ('y', '2')], 'all', folded=True)]),
    ]
    path = tmp_path / 'folder' / 'page.html'
    write_page(path, 'A & B', 'weights of nobody', sections)
    return path


def test_the_page_is_whole_and_needs_nothing_else(page):
    html = page.read_text()
    tags = Tags(html)
    assert not tags.open
    assert not re.search(r'(src|href|srcset)="(?!data:|#)', html)
    assert 'http' not in re.sub(r'data:[\w/+]+;base64,[\w+/=]+', '', html)
    assert 'Beware &lt;of&gt; this' in html
    assert '<h1>A &amp; B</h1>' in html
    links = [attrs['href'] for attrs in tags.all('a')]
    assert links == [f'#{attrs["id"]}' for attrs in tags.all('section')]
    assert links == ['#summary', '#is-it-spikes', '#layers']
    assert all(attrs['alt'] for attrs in tags.all('img'))


def test_a_chart_is_drawn_for_both_themes(page):
    chart = Chart.of(bars, 'two bars')
    assert chart.light != chart.dark
    assert chart == Chart.of(bars, 'two bars')
    tags = Tags(page.read_text())
    assert tags.all('source') == [dict(srcset=chart.dark, media='(prefers-color-scheme: dark)')]


def test_one_slider_moves_all_films(page):
    tags = Tags(page.read_text())
    (slider,) = tags.all('input')
    assert (slider['min'], slider['max']) == ('1', '3')
    steps = [attrs for attrs in tags.all('img') if 'step' in attrs['alt']]
    assert ['hidden' in attrs for attrs in steps] == [False, True, True] * 2


def test_small_pictures_stay_squares():
    pixels = np.random.default_rng(0).integers(0, 255, (8, 6, 3), dtype=np.uint8)
    import base64
    import io

    file = io.BytesIO(base64.b64decode(picture(pixels).partition(',')[2]))
    shown = np.asarray(Image.open(file))
    assert shown.shape == (168, 126, 3)
    np.testing.assert_array_equal(shown[::21, ::21], pixels)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('chromium') is None, reason='needs Chromium')
def test_a_browser_shows_it(page, tmp_path):
    # What the slider does, as a user's hand would
    moved = tmp_path / 'moved.html'
    move = "<script>const i = document.querySelector('input'); i.value = 3; "
    move += "i.dispatchEvent(new Event('input'));</script>"
    moved.write_text(page.read_text().replace('</body>', f'{move}</body>'))
    chromium = ['chromium', '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars']
    done = subprocess.run(
        [*chromium, '--dump-dom', moved.as_uri()], capture_output=True, text=True, timeout=120
    )
    tags = Tags(done.stdout)
    assert '3 of 3' in done.stdout
    steps = [attrs for attrs in tags.all('img') if 'step' in attrs['alt']]
    assert ['hidden' in attrs for attrs in steps] == [True, True, False] * 2

    shot = tmp_path / 'page.png'
    window = ['--window-size=400,1500', f'--screenshot={shot}']
    subprocess.run(
        [*chromium, *window, page.as_uri()], check=True, timeout=120, capture_output=True
    )
    pixels = np.asarray(Image.open(shot).convert('RGB'))
    assert pixels.shape == (1500, 400, 3)
    # Headings, cards, a chart and pictures: not one colour
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
