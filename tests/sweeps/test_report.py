import html.parser
import re

import pytest
import sweep_runs

from ssd_jax import html_page, sweeps
from ssd_jax.sweeps import plots, report, results
from ssd_jax.sweeps.folder import SweepFolder


@pytest.fixture
def folder(tmp_path):
    return SweepFolder(tmp_path)


class Page(html.parser.HTMLParser):
    """The rows of the tables, and what the page would load."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.loads, self.open = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def collect(folder, made, coverage=None):
    progress = sweep_runs.progress(folder, made)
    return results.collect(folder, progress, coverage), progress


def render(folder, made, coverage=None):
    found, progress = collect(folder, made, coverage)
    best = "python -m launch.train --config=x '--config.a=(1, 2)'" if found.best else ""
    return report.render(
        found,
        progress,
        title="scales on <quickstart>",
        command="python -m launch.sweep",
        best_command=best,
        left="3m",
        notes=["A & B."],
    )


def grid(n=3, seeds=2):
    fields = {
        "config.anchors.s_min": tuple(round(0.1 + i / 1000, 3) for i in range(n)),
        "config.anchors.s_max": (0.7, 0.9),
    }
    return sweep_runs.plan(*sweeps.product(sweeps.grid(fields), sweeps.seeds(seeds)))


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_page_of_a_grid(folder):
    made = grid()
    for i, trial in enumerate(made[:-2]):
        sweep_runs.write(folder, trial, 0.5 + i / 100 + (i % 2) / 10, small=0.1)
    for trial in made[-2:]:
        folder.update_record(trial, failed="exit status 1: error: <no> memory")
    coverage = {
        trial.setting: {"covered": 0.1 * i, "best_iou": 0.4} for i, trial in enumerate(made[::2])
    }
    text = render(folder, made, coverage)
    page = Page(text)
    assert page.loads
    assert all(value.startswith("data:image/png;base64,") for value in page.loads)
    assert "http" not in re.sub(r"data:[^\"]*", "", text)
    header, best, *others = page.rows
    assert header[:9] == [
        *("setting", "anchors.s_min", "anchors.s_max", "seeds", "mAP", "AP", "APs", "APm", "APl")
    ]
    # Means .555 .575 .595 .615 .635 by falling mAP; the spread of each pair is .11 / sqrt 2.
    assert best[:5] == ["s_min=0.102,s_max=0.7", "0.102", "0.7", "2/2", ".635 ± .078"]
    assert best[6] == ".100 ± .000"
    assert best[9] == "best"
    # .635 - .555 = .08 is just more than the spread; the last setting has failed.
    assert [row[9] for row in others[:5]] == ["≈", "≈", "≈", "", ""]
    assert "0.400" in best[10]
    failed = [row for row in page.rows if "exit status 1: error: <no> memory" in row]
    assert len(failed) == 2
    assert "scales on &lt;quickstart&gt;" in text
    assert "6 settings, 12 trials: 10 finished, 2 failed; about 3m left" in text
    assert "A &amp; B." in text
    assert "&#x27;--config.a=(1, 2)&#x27;" in text
    assert "covered +1.00" in text


def test_a_long_value_is_cut_and_kept_whole_beside_it(folder):
    ratios = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0,))
    made = sweep_runs.plan({"config.anchors.ratios": ratios}, {})
    sweep_runs.write(folder, made[0], 0.5)
    text = render(folder, made)
    assert f'<td title="{ratios}">((2.0,), (2.0, 3.0), (2.0, ...</td>' in text
    assert "<td>((), (), (), ())</td>" in text
    header, row, _ = Page(text).rows
    assert header[:2] == ["setting", "seeds"]
    assert header[-1] == "anchors.ratios"
    assert row[-1].startswith("((2.0,)")


def test_a_heat_map_of_two_fields(folder):
    made = grid()
    for i, trial in enumerate(made[:-4]):
        sweep_runs.write(folder, trial, 0.5 + i / 10)
    for trial in made[-2:]:
        folder.update_record(trial, failed="x")
    [figure] = plots.draw(collect(folder, made)[0])
    # Scores .5 .6, .7 .8, .9 1., 1.1 1.2: the last is the best; two settings have none.
    assert texts(figure) == [
        *(".550\n± .071", ".750\n± .071", ".950\n± .071", "1.150 best\n± .071", "-", "failed"),
    ]
    assert figure.axes[0].get_xlabel() == "config.anchors.s_max"
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["0.1", "0.101", "0.102"]


def test_a_line_with_error_bars_of_one_field(folder):
    rates = sweeps.grid({"config.optimizer.learning_rate": (1e-2, 1e-4, 1e-3)})
    made = sweep_runs.plan(*sweeps.product(rates, sweeps.seeds(2)))
    for i, trial in enumerate(made):
        sweep_runs.write(folder, trial, 0.5 + i / 10)
    [figure] = plots.draw(collect(folder, made)[0])
    [axes] = figure.axes
    line = axes.containers[0]
    # By rising rate, on an axis of orders of magnitude; means of .7 .8, .9 1. and .5 .6.
    assert list(line[0].get_xdata()) == [1e-4, 1e-3, 1e-2]
    assert list(line[0].get_ydata()) == pytest.approx([0.75, 0.95, 0.55])
    assert axes.get_xscale() == "log"
    [(low, high), *_] = [bar[:, 1] for bar in line[2][0].get_segments()]
    assert high - low == pytest.approx(2 * 0.05 * 2**0.5)


@pytest.mark.parametrize(
    ("overrides", "panels"),
    [
        (sweeps.named({"a": {}, "b": {"config.loss.alpha": 2.0}}), 1),
        (sweeps.grid({"config.loss.localization": ("l2", "smooth_l1")}), 1),
        (sweeps.seeds(2), 1),
        (
            sweeps.random(
                {
                    "config.loss.alpha": sweeps.uniform(1, 2),
                    "config.anchors.s_min": sweeps.uniform(0.1, 0.3),
                    "config.optimizer.learning_rate": sweeps.log_uniform(1e-4, 1e-2),
                    "config.optimizer.momentum": sweeps.uniform(0.5, 0.9),
                },
                5,
            ),
            4,
        ),
    ],
)
def test_other_sweeps_have_a_figure_too(folder, overrides, panels):
    made = sweep_runs.plan(*overrides)
    assert plots.draw(collect(folder, made)[0]) == []
    for i, trial in enumerate(made):
        sweep_runs.write(folder, trial, 0.1 * i)
    [figure] = plots.draw(collect(folder, made)[0])
    assert sum(axes.get_visible() for axes in figure.axes) == panels
    assert html_page.png(figure).startswith(b"\x89PNG")


def test_hundreds_of_trials_and_none(folder):
    made = grid(n=60, seeds=1)
    for i, trial in enumerate(made[:110]):
        sweep_runs.write(folder, trial, i / 1000)
    text = render(folder, made)
    assert len(Page(text).rows) == 121
    assert len(text) < 2e6
    nothing = render(SweepFolder(folder.root / "none"), grid())
    assert "No trial is finished yet" in nothing
    assert "<img" not in nothing
