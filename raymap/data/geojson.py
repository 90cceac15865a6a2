"""GeoJSON (RFC 7946) with OSM-style tags: every feature is a building, is something else, or is listed with why not.

* **Coordinates** are [longitude, latitude] in degrees on WGS 84. Longitudes up to ±360 are taken too, because data
  shifted across the antimeridian use them. Every building is unwrapped, so that one across ±180° is in one piece.
* **Which polygons are buildings**: where any feature carries a ``building`` or ``building:part`` tag, those that do
  (and are not ``no``); in a file without such tags, every polygon.
* **Height**: ``height`` in metres or feet ("12", "12,5 m", "40 ft", 7'4"), else ``building:levels`` times a storey,
  else unknown. ``min_height`` must lie below the height and is otherwise ignored: what stands on pillars is solid down
  to the ground, as everywhere in a height raster. Parts of buildings are taken like buildings.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from raymap.data.schema import Failure

#: Tallest building taken for real [m]; the tallest one stands 828 m high.
MAX_HEIGHT_M = 1000.0
#: Longest side of one building's bounding box [m]; more is a mistake, such as a district tagged as a building.
MAX_BUILDING_M = 5000.0
FOOT_M = 0.3048

#: Metres along a degree of latitude, good to 1 %: only the limit above is measured with it.
_DEGREE_M = 111_200.0
_TAGS = ("building", "building:part")
#: Names of WGS 84 in longitude and latitude in the ``crs`` member of old GeoJSON.
_WGS84 = re.compile(r"(urn:ogc:def:crs:)?(OGC:[\d.]*:?CRS84|EPSG:[\d.]*:?4326)", re.IGNORECASE)
_HEIGHT = re.compile(r"(\d+(?:[.,]\d+)?)\s*(m|metres?|meters?|ft|foot|feet|')?", re.ASCII)
_FEET_AND_INCHES = re.compile(r"(\d+)'\s*(\d+(?:\.\d+)?)\"", re.ASCII)

#: Outline and holes of one part, each (V, 2) longitude and latitude [deg], closed.
Rings = list[np.ndarray]


class Building(NamedTuple):
    """One feature: what it is called in messages, its parts, and its height [m], None if the file does not tell."""

    what: str
    parts: list[Rings]
    height_m: float | None

    @property
    def centre_lonlat(self) -> np.ndarray:
        """(2,) centre of the bounding box [deg]; the longitude may lie beyond ±180."""
        outlines = np.concatenate([rings[0] for rings in self.parts])
        return (outlines.min(0) + outlines.max(0)) / 2


class Features(NamedTuple):
    """What became of the features of a file; ``num_other`` were no buildings (streets, parks)."""

    buildings: list[Building]
    failures: list[Failure]
    num_other: int


class _OutOfRange(ValueError):
    pass


def read(source: str | Path | Mapping[str, Any], level_m: float = 3.0) -> Features:
    """The buildings of a FeatureCollection: a file, or the parsed document. A bad feature costs that feature.

    Raises FileNotFoundError for a missing file, and ValueError for what is no FeatureCollection, for a ``crs`` other
    than WGS 84, and where most buildings lie off the globe, which means swapped axes or another CRS.
    """
    document, where = _document(source)
    features = _features(document, where)
    tagged = any(_tag(feature) for feature in features)
    buildings: list[Building] = []
    failures: list[Failure] = []
    off_globe: list[str] = []
    for index, feature in enumerate(features):
        if _is_other(feature, tagged):
            continue
        what = _what(index, feature)
        try:
            buildings.append(_building(what, feature, level_m))
        except ValueError as error:
            failures.append(Failure(what, str(error)))
            off_globe += [f"{what}: {error}"] if isinstance(error, _OutOfRange) else []
    if 2 * len(off_globe) > len(buildings) + len(failures):
        raise ValueError(
            f"{where}: {len(off_globe)} of {len(buildings) + len(failures)} buildings lie off the globe; GeoJSON is "
            f"[longitude, latitude] in degrees on WGS 84. {off_globe[0]}"
        )
    return Features(buildings, failures, len(features) - len(buildings) - len(failures))


def _document(source: Any) -> tuple[Any, str]:
    if isinstance(source, Mapping):
        return source, "GeoJSON"
    if not isinstance(source, str | Path):
        raise ValueError(f"footprints are read from a path or a mapping, got {type(source).__name__}")
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return json.loads(path.read_text("utf-8-sig")), str(path)
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply to be GeoJSON") from None
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error


def _features(document: Any, where: str) -> list[Any]:
    kind = document.get("type") if isinstance(document, Mapping) else document
    if kind != "FeatureCollection":
        raise ValueError(f"{where}: expected a FeatureCollection, found {reprlib.repr(kind)}")
    if document.get("crs") is not None:
        try:
            name = document["crs"]["properties"]["name"]
        except (TypeError, KeyError, IndexError):
            name = document["crs"]
        if not (isinstance(name, str) and _WGS84.fullmatch(name.replace("::", ":"))):
            raise ValueError(f"{where}: crs is {reprlib.repr(name)}; only WGS 84 (longitude, latitude) can be read")
    features = document.get("features")
    if not isinstance(features, list | tuple):
        raise ValueError(f"{where}: features must be a list, found {reprlib.repr(features)}")
    return list(features)


def _properties(feature: Any) -> Mapping[str, Any]:
    properties = feature.get("properties") if isinstance(feature, Mapping) else None
    return properties if isinstance(properties, Mapping) else {}


def _tag(feature: Any) -> Any:
    """The value of the tag that makes a feature a building; None, "" or "no" if nothing does."""
    values = [value for value in map(_properties(feature).get, _TAGS) if value not in (None, "", "no", False)]
    return values[0] if values else None


def _is_other(feature: Any, tagged: bool) -> bool:
    if _malformed(feature) or _tag(feature):
        return False
    return tagged or "no" in map(_properties(feature).get, _TAGS)


def _malformed(feature: Any) -> str | None:
    if not isinstance(feature, Mapping) or feature.get("type") != "Feature":
        kind = feature.get("type") if isinstance(feature, Mapping) else feature
        return f"expected a Feature, found {reprlib.repr(kind)}"
    properties = feature.get("properties")
    if not (properties is None or isinstance(properties, Mapping)):
        return f"properties must be an object, found {reprlib.repr(properties)}"
    return None


def _what(index: int, feature: Any) -> str:
    """How a feature is called in messages: its number in the file, counted from 0, and its id if it has one."""
    name = feature.get("id", _properties(feature).get("@id")) if isinstance(feature, Mapping) else None
    return f"feature {index} ({str(name)[:60]})" if isinstance(name, str | int) else f"feature {index}"


def _building(what: str, feature: Any, level_m: float) -> Building:
    if reason := _malformed(feature):
        raise ValueError(reason)
    properties = feature.get("properties")
    return Building(what, _unwrapped(_parts(feature.get("geometry"))), height_m(properties or {}, level_m))


def _parts(geometry: Any) -> list[Rings]:
    if geometry is None:
        raise ValueError("it has no geometry")
    kind = geometry.get("type") if isinstance(geometry, Mapping) else geometry
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"a footprint is a Polygon or a MultiPolygon, found {reprlib.repr(kind)}")
    coordinates = geometry.get("coordinates")
    parts = [coordinates] if kind == "Polygon" else coordinates
    if not (isinstance(parts, list | tuple) and parts and all(isinstance(p, list | tuple) and p for p in parts)):
        raise ValueError(f"the {kind} is empty or malformed: coordinates {reprlib.repr(coordinates)}")
    return [[_ring(ring) for ring in rings] for rings in parts]


def _ring(ring: Any) -> np.ndarray:
    """(V, 2) degrees of a closed ring."""
    if not isinstance(ring, list | tuple) or len(ring) < 4:
        raise ValueError(f"a ring is four positions or more, found {reprlib.repr(ring)}")
    for position in ring:
        pair = position[:2] if isinstance(position, list | tuple) else ()
        if len(pair) != 2 or not all(isinstance(value, Real) and not isinstance(value, bool) for value in pair):
            raise ValueError(f"a position is [longitude, latitude], found {reprlib.repr(position)}")
    try:
        lonlat = np.array([position[:2] for position in ring], np.float64)
    except OverflowError as error:
        raise ValueError(f"a coordinate is not a number of degrees: {error}") from error
    if not np.isfinite(lonlat).all():
        raise ValueError(f"{int((~np.isfinite(lonlat)).any(1).sum())} positions are not finite")
    off = (np.abs(lonlat) > (360, 90)).any(1)
    if off.any():
        lon, lat = lonlat[off][0]
        swapped = (np.abs(lonlat[:, ::-1]) <= (360, 90)).all()
        raise _OutOfRange(
            f"longitude {lon:g}, latitude {lat:g} lies outside ±180, ±90"
            + ("; latitude and longitude look swapped" if swapped else "")
        )
    if (lonlat[0] != lonlat[-1]).any():
        raise ValueError(f"a ring is not closed: it starts at {lonlat[0].tolist()}, ends at {lonlat[-1].tolist()}")
    return lonlat


def _unwrapped(parts: list[Rings]) -> list[Rings]:
    """The same parts with all longitudes within 180° of the first, so that nothing jumps at the antimeridian."""
    first = parts[0][0][0, 0]
    for rings in parts:
        for ring in rings:
            ring[:, 0] = first + (ring[:, 0] - first + 180.0) % 360.0 - 180.0
    corners = np.concatenate([ring for rings in parts for ring in rings])
    lon, lat = np.ptp(corners, axis=0)
    size_m = _DEGREE_M * max(lat, lon * math.cos(math.radians(np.abs(corners[:, 1]).min())))
    if size_m > MAX_BUILDING_M:
        raise ValueError(f"it is {size_m / 1000:.3g} km long; a building is {MAX_BUILDING_M / 1000:g} km at most")
    return parts


def height_m(properties: Mapping[str, Any], level_m: float = 3.0) -> float | None:
    """Height above ground [m] from ``height``, else ``building:levels``; None if neither is there.

    An empty value counts as absent. Raises ValueError for one that cannot be understood, or that is not in
    (0, ``MAX_HEIGHT_M``], and for a ``min_height`` that does not lie below.
    """
    tags = {key: properties.get(key) for key in ("height", "building:levels", "min_height")}
    given = {key: value for key, value in tags.items() if not (value is None or value == "")}
    if "height" in given:
        top_m, what = _length_m("height", given["height"]), "height"
    elif "building:levels" in given:
        what = "building:levels"
        top_m = level_m * _number(what, given[what], r"(\d+(?:\.\d+)?)")
    else:
        return None
    if not 0 < top_m <= MAX_HEIGHT_M:
        raise ValueError(
            f"{what} {reprlib.repr(given[what])} is {top_m:g} m; a height lies above 0 and up to {MAX_HEIGHT_M:g} m"
        )
    if "min_height" in given and _length_m("min_height", given["min_height"]) >= top_m:
        raise ValueError(f"min_height {reprlib.repr(given['min_height'])} does not lie below the top, {top_m:g} m")
    return top_m


def _length_m(key: str, value: Any) -> float:
    if isinstance(value, str):
        text = value.strip()
        if match := _FEET_AND_INCHES.fullmatch(text):
            return (float(match[1]) + float(match[2]) / 12) * FOOT_M
        # "1,200" would be 1.2 m to one reader and 1200 m to another.
        if (match := _HEIGHT.fullmatch(text)) and not re.search(r",\d{3}(?!\d)", text):
            return float(match[1].replace(",", ".")) * (FOOT_M if match[2] in ("ft", "foot", "feet", "'") else 1.0)
        raise ValueError(f"{key} {reprlib.repr(value)} cannot be read as metres or feet")
    return _number(key, value)


def _number(key: str, value: Any, pattern: str = "") -> float:
    if isinstance(value, str) and (match := re.fullmatch(pattern, value.strip(), re.ASCII)):
        return float(match[1])
    if isinstance(value, Real) and not isinstance(value, bool) and abs(value) < 1e9:  # NaN is not below anything
        return float(value)
    raise ValueError(f"{key} {reprlib.repr(value)} is not a number")
