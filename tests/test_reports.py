"""The report: one page, whole, escaped, and right in a real browser."""

import os
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import numpyro
import numpyro.distributions as dist
import pyro
import pytest
import torch
from numpyro.distributions import constraints

import ppgen
from ppgen import plots
from ppgen.errors import InvalidArgument, StorageError, UnknownName
from ppgen.evaluation import Row, Scorecard
from ppgen.models.bayesian.eight_schools import eight_schools
from ppgen.reports import Page
from ppgen.reports.reproduce import call_of, source_of

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Outline(HTMLParser):
    """Checks that tags nest, and collects what the tests ask about."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.ids, self.text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.text += data

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def outline(html):
    parsed = Outline()
    parsed.feed(html)
    parsed.close()
    assert not parsed.open
    return parsed


@pytest.fixture(scope="module")
def card():
    rows = (
        Row(
            "flow <1>",
            "Flow",
            "lower_bound",
            "discrete",
            2.1,
            (2.0, 2.2),
            -92.0,
            1.0,
            1200,
            3.0,
            0.001,
            "a & b",
        ),
        Row("transformer", "Transformer", "exact", "discrete", 1.96, (1.9, 2.0), -86.0, 1.0, 900),
    )
    return Scorecard("digits", 447, rows)


@pytest.fixture(scope="module")
def page(card):
    page = Page("Rain & shine <2026>", "Does it <b>rain</b>?", made_with={"ppgen": "0.1.0", "seed": 0})
    draws = {"mu": np.random.default_rng(0).normal(size=(2, 50))}
    first = page.section("The fit")
    first.text("Draws of `mu < 1`.\n\nA second\nparagraph.").bullets("one", "two & three")
    first.code("x = [1 < 2]\n    y")
    first.note("ok", "All is well.").note("warning", "ESS is low.").note("problem", "Chain 3 is stuck.")
    first.table(["name", "mean", "n"], [["mu", 1.234, 1000], ["tau", None, 5]], caption="Summary")
    first.heading("Chains").figure(plots.trace(draws), caption="Two chains.", alt="Trace of mu")
    page.section("The fit").embed(card)
    return page


@pytest.fixture(scope="module")
def parsed(page):
    return outline(page.to_html())


def test_page_is_well_formed_with_one_title(parsed):
    assert [tag for tag, _ in parsed.tags].count("h1") == 1
    assert len(parsed.ids) == len(set(parsed.ids))
    assert len(parsed.named("section")) == 2


def test_contents_lead_to_the_sections(parsed):
    targets = [attrs["href"] for attrs in parsed.named("a")]
    assert targets == ["#the-fit", "#the-fit-2"]
    assert all(target[1:] in parsed.ids for target in targets)


@pytest.mark.quick
def test_page_loads_nothing_and_runs_nothing(page, parsed):
    assert not parsed.named("script")
    assert not parsed.named("link")
    assert not parsed.named("iframe")
    assert all(attrs["src"].startswith("data:image/png;base64,") for attrs in parsed.named("img"))
    without_pictures = page.to_html().replace("http-equiv", "")
    assert "http://" not in without_pictures
    assert "https://" not in without_pictures
    assert "@import" not in without_pictures
    assert "url(" not in without_pictures
    policy = next(attrs["content"] for attrs in parsed.named("meta") if "http-equiv" in attrs)
    assert "default-src 'none'" in policy


def test_all_text_is_escaped(page, parsed):
    html = page.to_html()
    for text in ("Rain &amp; shine &lt;2026&gt;", "&lt;b&gt;rain&lt;/b&gt;", "flow &lt;1&gt;", "a &amp; b"):
        assert text in html
    assert "<code>mu &lt; 1</code>" in html
    assert "x = [1 < 2]\n    y" in parsed.text


@pytest.mark.parametrize(
    "attack", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}"]
)
def test_hostile_text_stays_text_everywhere(attack):
    page = Page(attack, attack, made_with={attack: attack})
    section = page.section(attack)
    section.heading(attack).text(attack).bullets(attack).code(attack).note("ok", attack)
    section.table([attack], [[attack]], caption=attack)
    section.figure(plots.scatter({"a": np.zeros((2, 2))}), caption=attack, alt=attack)
    page.section("other")
    parsed = outline(page.to_html())
    assert not parsed.named("script")
    assert len(parsed.named("img")) == 1
    assert "onerror" not in {name for _, attrs in parsed.tags for name in attrs}
    assert "49" not in parsed.text


def test_pictures_have_words_and_sizes(parsed):
    (image,) = parsed.named("img")
    assert image["alt"] == "Trace of mu"
    assert (int(image["width"]), int(image["height"])) == (600, 145)


def test_table_puts_numbers_right_with_common_decimals(parsed, page):
    html = page.to_html()
    assert '<td class="number">1.23</td>' in html
    assert '<td class="number">–</td>' in html
    assert '<td class="number">1,000</td>' in html
    assert '<td class="text">mu</td>' in html


def test_verdicts_are_said_in_words(parsed):
    classes = [attrs.get("class") for attrs in parsed.named("p")]
    assert [c for c in classes if c and c.startswith("note")] == ["note ok", "note warning", "note problem"]
    assert "Problem" in parsed.text


def test_footer_says_how_it_was_made(parsed):
    assert parsed.named("footer")
    assert "0.1.0" in parsed.text


def test_a_page_of_one_section_needs_no_contents():
    page = Page("Short")
    page.section("Only").text("One.")
    assert not outline(page.to_html()).named("nav")


def test_the_same_page_twice_is_the_same_bytes(page):
    assert page.to_html() == page.to_html()


def test_write(page, tmp_path):
    path = page.write(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == page.to_html()


# -- of results ------------------------------------------------------------------------------------------


def in_pyro(sigma, y):
    """Eight schools, in Pyro."""
    mu = pyro.sample("mu", pyro.distributions.Normal(0.0, 5.0))
    with pyro.plate("school", len(sigma)):
        pyro.sample("y", pyro.distributions.Normal(mu, torch.hypot(sigma, torch.tensor(5.0))), obs=y)


def flat(y):
    """A flat prior, <b>improper</b>."""
    mu = numpyro.sample("mu", dist.ImproperUniform(constraints.real, (), ()))
    numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


@pytest.fixture(scope="module")
def schools():
    data = ppgen.data.load("eight_schools")
    return ppgen.infer(eight_schools, data, target_accept=0.95, draws=500, tune=500, progress=False)


@pytest.fixture(scope="module")
def posteriors(schools):
    data = ppgen.data.load("eight_schools")
    return {"non-centred": schools, "common <mean>": ppgen.infer(in_pyro, data, "laplace", progress=False)}


@pytest.fixture(scope="module")
def workflow(posteriors, card):
    return ppgen.report(posteriors, card, title="Schools & digits")


def test_report_of_a_posterior(schools, tmp_path):
    page = ppgen.report(schools, path=tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page.to_html()
    parsed = outline(page.to_html())
    assert len(parsed.named("img")) == 7
    for words in ('numpyro.sample("tau", dist.HalfCauchy(5.0))', "R-hat is at most", "hoffman2014", "jax"):
        assert words in parsed.text
    assert "The non-centred hierarchical model" not in parsed.text  # its docstring
    assert [section.title for section in page][:3] == ["In short", "The program", "The data"]


def test_report_of_a_workflow(workflow):
    html = workflow.to_html()
    parsed = outline(html)
    titles = [section.title for section in workflow]
    assert titles == ["In short", "non-centred", "common <mean>", "Comparison", "Scorecard: digits"]
    assert "common &lt;mean&gt;" in html
    assert "Written in Pyro" in parsed.text
    assert "Stacking weights" in parsed.text
    assert len(parsed.ids) == len(set(parsed.ids))


def test_what_cannot_be_checked_is_said(tmp_path):
    page = ppgen.report(ppgen.infer(flat, {"y": [1.0, 2.0]}, "laplace", progress=False))
    text = outline(page.to_html()).text
    assert "There is no prior check." in text
    assert "mu" in text[text.index("There is no prior check.") :][:200]
    assert "There is no sensitivity analysis" in text
    assert "<b>improper" not in page.to_html()


def test_the_code_in_a_report_gives_the_same_draws(schools):
    names = {}
    exec(call_of(schools).replace("seed=0", "seed=0, progress=False"), names)
    np.testing.assert_array_equal(names["post"].draws["theta"], schools.draws["theta"])


def test_large_data_are_named_by_their_hash():
    y = np.random.default_rng(0).normal(size=200)
    post = ppgen.infer(in_pyro, {"sigma": np.ones(200), "y": y}, "laplace", progress=False)
    assert "float64 of shape (200,), SHA-256 " in call_of(post)


def test_source_of_a_callable_object():
    class Program:
        """A program with a state."""

        def __call__(self, y):
            return y

    assert "return y" in source_of(Program())
    assert "with a state" not in source_of(Program())


@pytest.mark.parametrize("wrong", [(), (3,), ({},), ({"a": 1},)])
def test_report_of_something_else(wrong):
    with pytest.raises(InvalidArgument, match="expected a Posterior"):
        ppgen.report(*wrong)


def test_report_checks_its_path_first(schools, tmp_path):
    with pytest.raises(StorageError):
        ppgen.report(schools, path=tmp_path / "missing" / "report.html")


# -- bad input --------------------------------------------------------------------------------------


def test_a_path_that_cannot_be_written(page, tmp_path):
    with pytest.raises(StorageError, match="mkdir"):
        page.write(tmp_path / "missing" / "report.html")
    with pytest.raises(StorageError, match="folder"):
        page.write(tmp_path)


def test_empty_title():
    with pytest.raises(InvalidArgument, match="title"):
        Page("  ")


def test_unknown_verdict(wrong_types):
    with pytest.raises(UnknownName, match="Did you mean 'warning'"):
        Page("p").section("s").note("warn", "…")


def test_picture_without_words():
    with pytest.raises(InvalidArgument, match="alt"):
        Page("p").section("s").figure(plots.scatter({"a": np.zeros((2, 2))}), caption="", alt=" ")


def test_ragged_table():
    with pytest.raises(InvalidArgument, match="1 cells in row 1"):
        Page("p").section("s").table(["a", "b"], [[1, 2], [3]])


# -- in a browser -----------------------------------------------------------------------------------

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# A page around the report: nothing but tables may be wider than the screen, and every picture decodes.
FRAME = """<iframe id=f src="report.html" style="width:{width}px;height:800px;border:0"></iframe><p id=o></p>
<script>f.onload = () => {{
  const root = f.contentDocument.documentElement
  const blank = [...f.contentDocument.images].filter(image => !(image.complete && image.naturalWidth))
  o.textContent = `${{root.scrollWidth - root.clientWidth}} px over, ${{blank.length}} blank`
}}</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium to render the page")
@pytest.mark.parametrize("width", [390, 1280])
def test_report_renders_on_phone_and_desk_without_a_console_message(workflow, width, tmp_path):
    workflow.write(tmp_path / "report.html")
    (tmp_path / "frame.html").write_text(FRAME.format(width=width))
    command = [
        CHROMIUM,
        *(
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-sync",
        ),
        *("--disable-component-update", "--allow-file-access-from-files", "--virtual-time-budget=3000"),
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        *("--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"),
        (tmp_path / "frame.html").as_uri(),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if result.returncode != 0:
        pytest.skip(f"Chromium does not start here: {result.stderr[-200:]}")
    assert "0 px over, 0 blank" in result.stdout
    assert "CONSOLE" not in result.stderr
