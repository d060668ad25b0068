import re

from matplotlib.figure import Figure

from ssd_jax import html_page


def test_a_page_holds_its_elements_and_loads_nothing():
    figure = Figure()
    figure.subplots().plot([1, 2])
    body = ["<p>one</p>", "", html_page.picture(figure, 'a "line"')]
    text = html_page.page("a & <b>", body, style="p { color: red }", script="go()")
    assert text.startswith("<!doctype html>")
    assert "<title>a &amp; &lt;b&gt;</title>" in text
    assert "p { color: red }</style>" in text
    assert "<script>go()</script>" in text
    assert '<img alt="a &quot;line&quot;" src="data:image/png;base64,iVBOR' in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)


def test_a_table_escapes_its_headings_and_not_its_rows():
    text = html_page.table(["<a>", "b"], ["<tr><td>1</td></tr>"], kind="wide", caption="x < y")
    assert text.startswith('<table class="wide"><caption>x &lt; y</caption>')
    assert "<th>&lt;a&gt;</th><th>b</th>" in text
    assert "<tr><td>1</td></tr>" in text
    assert "<caption>" not in html_page.table(["a"], [])
