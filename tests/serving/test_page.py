"""The page in a real browser: clicks, drags and keys do what they promise, and nothing leaves the endpoint."""

import json

import pytest

from jobs.browser import CHROMIUM, Browser
from raymap.serving.settings import Serving

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
MAPS = "document.getElementById('map').dataset.maps"
SHIFT, CONTROL = 8, 2


@pytest.fixture(scope="module")
def chromium(tmp_path_factory, client):
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.end()


@pytest.fixture
def page(chromium, client):
    """The page as a first visitor sees it, with its map drawn."""
    chromium.size(1440, 950)
    chromium.dark(False)
    chromium.open(client.url + "/healthz")
    chromium.until("document.body && document.body.innerText.includes('ok')")
    chromium.js("localStorage.clear()")
    chromium.requests.clear(), chromium.errors.clear(), chromium.bodies.clear()
    chromium.open(client.url + "/")
    chromium.until(f"document.getElementById('map') && {MAPS}")
    yield chromium
    assert not chromium.errors, chromium.errors
    assert all(url.startswith((client.url, "blob:", "data:")) for url in chromium.requests)


def at(page, x_m, y_m, size_m=256.0):
    """Where on the screen a place of the block is."""
    box = "const r = document.getElementById('map').getBoundingClientRect(); return [r.x, r.y, r.width, r.height]"
    left, top, width, height = page.js(f"(() => {{ {box} }})()")
    return left + x_m / size_m * width, top + y_m / size_m * height


def maps(page):
    return int(page.js(MAPS) or 0)


def drawn(page):
    """What the canvas shows."""
    return page.js("document.getElementById('map').toDataURL()")


def asked_for(page):
    """Every request for maps."""
    return [json.loads(body) for url, body in zip(page.requests, page.bodies, strict=True) if "/v1/maps" in url]


def antennas(page):
    return page.js("JSON.parse(localStorage.getItem('raymap')).antennas")


def text(page, name):
    return page.js(f"document.getElementById('{name}').textContent")


def choose(page, name, value):
    page.js(f"(() => {{ const e = document.getElementById('{name}'); e.value = {json.dumps(value)};"
            f"e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); }})()")  # fmt: skip


def test_a_first_visitor_sees_a_block_with_its_map(page):
    assert text(page, "model-line") == "drawn by k2-small"
    assert text(page, "share-value").endswith("%") and "OpenStreetMap" in text(page, "attribution")
    page.mouse("mouseMoved", *at(page, 120, 130))
    assert page.until("document.getElementById('under').textContent.match(/-?[0-9.]+ dB, -?[0-9.]+ dBm received/)")
    page.mouse("mouseMoved", *at(page, 194, 102))
    assert "building, 10.0 m" in text(page, "under")


def test_the_map_follows_the_antenna_with_one_request_at_a_time(page):
    before, asked, count = drawn(page), len(asked_for(page)), maps(page)
    page.drag(at(page, 130, 130), at(page, 118, 130), steps=20)
    page.until(f"{MAPS} > {count} && JSON.parse(localStorage.getItem('raymap')).antennas[0].x < 119")
    page.until("document.getElementById('busy').hidden")
    where = antennas(page)[0]["x"]
    while asked_for(page)[-1]["transmitters"][0]["x_m"] != where:
        count = maps(page)
        page.until(f"{MAPS} > {count}", seconds=10)
    assert len(asked_for(page)) - asked <= 21 and drawn(page) != before


def test_an_antenna_in_a_building_is_refused_in_words(page):
    page.press("a")
    page.click(*at(page, 194, 102))
    assert "building of 10 m" in text(page, "message") and len(antennas(page)) == 1


def test_a_building_that_is_drawn_casts_a_shadow_and_undo_takes_it_away(page):
    share = float(text(page, "share-value").split()[0])
    count = maps(page)
    page.press("b")
    page.drag(at(page, 110, 124), at(page, 116, 142))
    page.until(f"{MAPS} > {count}")
    assert float(text(page, "share-value").split()[0]) < share
    count = maps(page)
    page.press("z", CONTROL)
    page.until(f"{MAPS} > {count}")
    assert float(text(page, "share-value").split()[0]) == share
    page.press("z", CONTROL | SHIFT)
    page.until(f"{MAPS} > {count + 1}")
    assert float(text(page, "share-value").split()[0]) < share


def test_coverage_follows_the_threshold_without_asking(page):
    asked, shares = len(page.requests), []
    for threshold in ("-120", "-100", "-80", "-60"):
        choose(page, "threshold", threshold)
        shares.append(float(text(page, "share-value").split()[0]))
    assert shares == sorted(shares, reverse=True) and shares[0] > shares[-1] and len(page.requests) == asked


def test_two_stations_are_told_apart_by_letters(page):
    count = maps(page)
    page.press("a")
    page.click(*at(page, 168, 80))
    page.until(f"{MAPS} > {count} && document.querySelectorAll('#antennas li').length === 2")
    before = drawn(page)
    choose(page, "layer", "best")
    page.until("document.getElementById('layer').value === 'best'")
    page.js("new Promise(requestAnimationFrame)")
    assert drawn(page) != before
    page.mouse("mouseMoved", *at(page, 166, 76))
    assert "from B" in text(page, "under")


@pytest.mark.parametrize(("layer", "asked"), [("outline", "outline"), ("spread", "spread")])
def test_layers_that_cost_more_are_asked_for_when_they_are_shown(page, layer, asked):
    count = maps(page)
    choose(page, "layer", layer)
    page.until(f"{MAPS} > {count}")
    last = asked_for(page)[-1]
    assert last["layers"] == ["gain", asked] and last["ensemble"] == (4 if layer == "spread" else 1)


def test_the_keyboard_alone_places_and_deletes_a_station(page):
    page.press("a")
    for _ in range(4):
        page.press("ArrowUp")
    assert "y 1" in text(page, "live")
    for key, times in (("ArrowRight", 3), ("ArrowUp", 8)):
        for _ in range(times):
            page.press(key)
    count = maps(page)
    page.press("Enter")
    if len(antennas(page)) == 1:
        assert "building" in text(page, "message")
        page.press("ArrowRight", SHIFT)
        page.press("Enter")
    page.until(f"{MAPS} > {count}")
    assert len(antennas(page)) == 2
    page.press("Delete")
    assert len(antennas(page)) == 1


def test_a_file_of_footprints_becomes_the_block(page, tmp_path):
    house = [[11.5755, 48.1370], [11.5760, 48.1370], [11.5760, 48.1373], [11.5755, 48.1373], [11.5755, 48.1370]]
    feature = {"type": "Feature", "properties": {"height": 15}, "geometry": {"type": "Polygon", "coordinates": [house]}}
    (tmp_path / "town.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    count = maps(page)
    page.file("#geojson", tmp_path / "town.geojson")
    page.until(f"{MAPS} > {count}")
    assert page.js("JSON.parse(localStorage.getItem('raymap')).area.kind") == "geojson"
    assert page.js("Math.max(...JSON.parse(localStorage.getItem('raymap')).heights)") == 15
    (tmp_path / "bad.geojson").write_text("{")
    page.file("#geojson", tmp_path / "bad.geojson")
    page.until("document.getElementById('message').textContent.includes('bad.geojson cannot be read')")


def test_work_is_there_again_after_a_reload_and_a_link_opens_the_same(page, client):
    page.drag(at(page, 130, 130), at(page, 118, 130))
    page.until("JSON.parse(localStorage.getItem('raymap')).antennas[0].x < 120")
    place = antennas(page)[0]
    page.open(client.url + "/")
    page.until(f"document.getElementById('map') && {MAPS}")
    assert antennas(page)[0] == place
    hashed = page.js("import('/page/state.js').then(s => s.link(JSON.parse(localStorage.getItem('raymap'))))")
    page.js("localStorage.clear()")
    page.open("about:blank")
    page.open(hashed)
    page.until(f"document.getElementById('map') && {MAPS}")
    assert antennas(page)[0] == place


def test_narrow_and_dark_it_is_whole(page, client):
    page.dark()
    page.size(360, 740, touch=True)
    page.open(client.url + "/")
    page.until(f"document.getElementById('map') && {MAPS}")
    assert page.js("document.documentElement.dataset.theme") == "dark"
    assert page.js("document.documentElement.scrollWidth") <= 360


def test_a_token_is_asked_for_where_one_is_needed(chromium, endpoint_of, monkeypatch):
    monkeypatch.setenv("RAYMAP_TOKEN", "s3cret")
    guarded = endpoint_of(Serving(), wait=False)
    chromium.open(guarded.url + "/")
    chromium.until("document.getElementById('token-label') && !document.getElementById('token-label').hidden")
    choose(chromium, "token", "s3cret")
    chromium.until(f"document.getElementById('map') && {MAPS}", seconds=60)
    assert chromium.js("document.getElementById('message').hidden")
    chromium.js("sessionStorage.clear()")
    chromium.errors.clear()
