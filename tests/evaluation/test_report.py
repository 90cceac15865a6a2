"""Pictures and report: what is drawn where, and a page that stands alone, is well formed and escapes its texts."""

import io
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread

from raymap.evaluation import pictures, report, summary

EVIL = "<script>alert('x')</script>\" onload=\"y"


def png_size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def item(seed=0, shape=(24, 24), **changes):
    rng = np.random.default_rng(seed)
    outdoor = rng.random(shape) > 0.2
    return {
        "title": f"scene {seed} costs $5 and $6",
        "building_m": np.where(outdoor, 0.0, 12.0),
        "outdoor": outdoor,
        "outline": rng.random(shape),
        "predicted_db": rng.uniform(-160, -40, shape),
        "true_db": rng.uniform(-147, -47, shape),
        "tx": (3, 4),
        "cell_m": 4.0,
    } | changes


def score_rows():
    rng = np.random.default_rng(0)
    places = [f"{convention}/{region}/" for convention in ("raw", "thr02") for region in ("all", "outdoor")]
    keys = [place + metric for place in places for metric in ("nmse", "rmse_db", "ssim", "psnr")]
    return [
        {
            "method": name,
            "scene": image // 2,
            "latency_ms": 5.0,
            "maps_per_s": 250.0,
            "flop": 1.234e12,
            "parameters": 1234567,
        }
        | {key: size * rng.uniform(0.9, 1.1) for key in keys}
        | ({"outline/dtc": 0.7, "outline/dtiou": 0.6} if name == EVIL else {})
        for name, size in ((EVIL, 0.1), ("kriging", 0.5), ("nearest", 0.8))
        for image in range(8)
    ]


class Page(HTMLParser):
    """Checks that tags close in order, and keeps tags, attributes and text."""

    VOID = {"meta", "img", "link", "br"}

    def __init__(self, html: str):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rows = score_rows()
    result = summary.summarise(
        rows, dataset="tiny & small", split="test", commit="abc", command="evaluate --out <dir>", hardware="two cores"
    )
    ratio = summary.ratio_to_better_floor(rows, ["kriging", "nearest"])
    path = report.write_report(
        tmp_path_factory.mktemp("report") / "out",
        result,
        [(EVIL, "as <b>given</b>", pictures.gallery([item()]))],
        ratio=ratio,
        rows=rows,
        notes=["tolerance 1 cell & τ = 0.5"],
        attribution="Data: ours <3",
        date="2025-01-02",
    )
    assert path.name == "report.html" and [entry.name for entry in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_loads_nothing(page):
    parsed = Page(page)
    assert "http://" not in page and "https://" not in page and "url(" not in page and "@import" not in page
    sources = [value for _, name, value in parsed.attributes if name in ("src", "href", "srcset", "data", "action")]
    assert len(sources) == 3 and all(value.startswith("data:image/png;base64,") for value in sources)
    assert "script" not in parsed.tags and "link" not in parsed.tags and "iframe" not in parsed.tags


def test_every_text_is_escaped(page):
    parsed = Page(page)
    assert EVIL not in page and not any(name.startswith("on") for _, name, _ in parsed.attributes)
    text = "".join(parsed.text)
    for given in (EVIL, "tiny & small", "as <b>given</b>", "evaluate --out <dir>", "Data: ours <3", "cell & τ = 0.5"):
        assert given in text


def test_the_page_says_what_was_found(page):
    text = " ".join("".join(Page(page).text).split())
    nmse = np.mean([row["raw/all/nmse"] for row in score_rows() if row["method"] == EVIL])
    assert f"{EVIL} reaches an NMSE of {nmse:.4f} ±" in text
    assert "times that of the better floor, kriging" in text and "better than the floor" in text
    assert "Measured on 8 maps from 4 scenes" in text
    assert "Outline agreement" in text and "1,234,567" in text and "2025-01-02" in text and "clustered by scene" in text


def test_costs_stand_in_their_units_and_only_those_that_were_measured(page):
    section = page[page.index('<section id="costs">') :]
    text = " ".join("".join(Page(section[: section.index("</section>") + 10]).text).split())
    for shown in (
        "throughput [maps/s]",
        "250.0",
        "operations per map [GFLOP]",
        "1,234.00",
        "latency [ms]",
        "1,234,567",
    ):
        assert shown in text, (shown, text)
    assert "peak memory [MB]" not in text and "network calls" not in text


def test_a_floor_that_wins_is_said_to_win(tmp_path):
    rows = [row | {"method": "net" if row["method"] == "nearest" else row["method"]} for row in score_rows()]
    rows = [row for row in rows if row["method"] != EVIL]
    result = summary.summarise(rows, dataset="d", split="s", commit="c", command="x", hardware="h")
    path = report.write_report(tmp_path, result, ratio=summary.ratio_to_better_floor(rows, ["kriging"]))
    text = " ".join("".join(Page(path.read_text()).text).split())
    assert "net reaches an NMSE" in text and "of the floor, kriging" in text and "worse than the floor" in text


def paired_rows(shifts, num_scenes=16, **columns):
    """Rows of methods whose NMSE is apart by a shift, or by one of alternating sign for None."""
    rng = np.random.default_rng(1)
    hardness = rng.lognormal(0, 0.5, num_scenes)
    return [
        {"method": name, "scene": f"town-{scene:02}", "tx_id": 0, "raw/all/nmse": hardness[scene] + change}
        | {"raw/outdoor/rmse_db": 5.0, **columns}
        for name, shift in shifts.items()
        for scene in range(num_scenes)
        for change in [(scene + 1) * (shift if shift is not None else 0.01 * (-1) ** scene)]
    ]


def text_of(folder, rows, **given):
    result = summary.summarise(rows, dataset="d", split="s", commit="c", command="x", hardware="h")
    html = report.write_report(folder, result, rows=rows, **given).read_text()
    return " ".join(" ".join(Page(html).text).split())


def test_the_page_says_which_differences_are_real(tmp_path):
    rows = paired_rows({"second": 0.0, "noisy": None, "best": -0.001, "worst": 0.02})
    best = text_of(tmp_path, rows)
    assert "0 better , 2 worse , 1 not told apart: the other methods against best." in best
    assert "best is the best on these very maps" in best
    assert f"second worse {0.001 * 8.5:+.4f} 0 16 < 0.001" in best and "noisy cannot tell at 5 %" in best
    second = text_of(tmp_path, rows, reference="second")
    assert "1 better , 1 worse , 1 not told apart: the other methods against second." in second
    assert f"best better −{0.001 * 8.5:.4f} 16 0 < 0.001" in second and "on these very maps" not in second
    with pytest.raises(ValueError, match="reference 'kriging' is no method"):
        text_of(tmp_path, rows, reference="kriging")


def test_the_page_says_why_a_difference_cannot_be_tested_and_nothing_of_a_single_method(tmp_path):
    rows = paired_rows({"a": 0.0, "b": 0.1}, num_scenes=5)
    assert "could not be tested: too few scenes to tell 2 methods apart, 5" in text_of(tmp_path, rows)
    rows = paired_rows({"a": 0.0, "b": 0.1})[:-1]
    assert "could not be tested: 'b' and 'a' in 'raw/all/nmse' are not paired" in text_of(tmp_path, rows)
    assert "Is the difference real" not in text_of(tmp_path, paired_rows({"a": 0.0}))


def test_errors_are_shown_by_place_where_places_were_scored(tmp_path):
    shifts = {"a": 0.0, "b": 0.1}
    assert "Where errors are" not in text_of(tmp_path, paired_rows(shifts))
    seen = text_of(tmp_path, paired_rows(shifts, **{"raw/los/rmse_db": 1.0, "raw/nlos/rmse_db": 5.0}))
    assert "Where errors are" in seen and "by distance to the transmitter" not in seen
    rings = {"raw/32-64m/rmse_db": 3.25, "raw/128m+/rmse_db": 6.5, "thr02/32-64m/rmse_db": 2.25}
    ringed = text_of(tmp_path, [*paired_rows({"a": 0.0}, **rings), *paired_rows({"b": 0.1})])
    assert "raw thr-0.2 method 32–64 m 128 m+ 32–64 m a 3.25 ± 0.00 6.50 ± 0.00 2.25 ± 0.00 b – – –" in ringed


def test_the_least_report_still_reads(tmp_path):
    result = {
        "dataset": "d",
        "split": "s",
        "commit": "c",
        "command": "x",
        "hardware": "h",
        "num_scenes": 1,
        "num_images": 1,
        "methods": {"only": {"raw": {"all": {"nmse": {"mean": None}}}}},
    }
    Page(report.write_report(tmp_path, result).read_text())
    with pytest.raises(ValueError, match="at least one method"):
        report.write_report(tmp_path, result | {"methods": {}})
    with pytest.raises(ValueError, match="'kriging'"):
        report.write_report(tmp_path, result, ratio={"floors": ["kriging"], "floor": "kriging", "ratios": {}})


def test_gallery_draws_crisp_cells_with_grey_buildings(tmp_path):
    png = pictures.gallery([item(0), item(1)], tmp_path / "gallery.png")
    assert (tmp_path / "gallery.png").read_bytes() == png
    width, height = png_size(png)
    assert width == 1800 and 600 < height < 1200
    image = imread(io.BytesIO(png))[..., :3]
    grey = np.array([0xA3, 0xA8, 0xAE]) / 255
    is_building = np.abs(image - grey).max(-1) < 0.004
    outdoor = [item(seed)["outdoor"] for seed in (0, 1)]
    share = 1 - np.mean(outdoor)
    panel = (9 - 0.3 - 4 * 0.09) / 5 * 200
    assert is_building.sum() == pytest.approx(10 * share * panel**2, rel=0.05)  # five panels in each of two rows


def test_a_perfect_map_has_a_white_error():
    rng = np.random.default_rng(0)
    true_db = rng.uniform(-140, -50, (24, 24))
    same = pictures.strip([("error", np.zeros((24, 24)), "error")])
    centre = imread(io.BytesIO(same))[300, 300, :3]
    assert centre == pytest.approx(np.full(3, 0.97), abs=0.02)
    assert pictures.gallery([item(predicted_db=true_db, true_db=true_db)])


def test_pictures_refuse_what_cannot_be_drawn():
    with pytest.raises(ValueError, match="nothing to draw"):
        pictures.gallery([])
    with pytest.raises(ValueError, match="unknown kind"):
        pictures.strip([("map", np.zeros((8, 8)), "colour")])
    with pytest.raises(ValueError, match="other shapes"):
        pictures.gallery([item(), item(shape=(24, 12))])
    with pytest.raises(ValueError, match="other kinds"):
        pictures.gallery([item(), item(outline=None)])
    with pytest.raises(ValueError, match="cells of 1.0 m"):
        pictures.gallery([item(), item(cell_m=1.0)])
