"""Requests as the API's description shows them."""

_ANTENNA = {"x_m": 130.0, "y_m": 130.0, "height_m": 1.5}
EXAMPLES = {
    "a city block": {
        "summary": "A block of San Francisco by its name",
        "value": {"area": {"kind": "tile", "name": "san-francisco-1"}, "transmitters": [_ANTENNA]},
    },
    "an array": {
        "summary": "Buildings as an array of heights",
        "value": {
            "area": {"kind": "raster", "cell_m": 4.0, "heights_m": [[0.0] * 16] * 6 + [[12.0] * 8 + [0.0] * 8] * 4 + [
                [0.0] * 16] * 6},
            "transmitters": [{"x_m": 10.0, "y_m": 10.0}],
        },
    },
    "coverage": {
        "summary": "Where two base stations together are heard, and which is heard best",
        "value": {
            "area": {"kind": "town", "seed": 7}, 
            "transmitters": [{"x_m": 42.0, "y_m": 162.0}, {"x_m": 138.0, "y_m": 162.0}],
            "layers": ["gain", "best_server", "coverage"], "threshold_dbm": -80.0,
        },
    },
    "error bars": {
        "summary": "The mean of eight maps and how far it may be off",
        "value": {
            "area": {"kind": "tile", "name": "munich-1"}, "transmitters": [_ANTENNA], "ensemble": 8,
            "layers": ["gain", "spread", "outline"],
        },
    },
    "footprints": {
        "summary": "Buildings as GeoJSON",
        "value": {
            "area": {"kind": "geojson", "shape": [64, 64], "geojson": {
                "type": "FeatureCollection", "features": [{
                    "type": "Feature", "properties": {"height": 15},
                    "geometry": {"type": "Polygon", "coordinates": [[
                        [11.5755, 48.1370], [11.5760, 48.1370], [11.5760, 48.1373], [11.5755, 48.1373],
                        [11.5755, 48.1370]]]}}]}},
            "transmitters": [{"lonlat": [11.5765, 48.1372]}],
        },
    },
}  # fmt: skip
PATHS_EXAMPLES = {
    "two paths": {
        "summary": "A receiver between two measured ones, and its impulse response",
        "value": {
            "transmitter_m": [0.0, 0.0, 30.0], "frequency_hz": 3.5e9, "bandwidth_hz": 1e8,
            "measured": [
                {"position_m": [40.0, 10.0, 1.5], "paths": [
                    {"power_db": -77.3, "delay_ns": 167.2, "zenith_deg": 55.3, "azimuth_deg": -166.0,
                     "kind": "line_of_sight"},
                    {"power_db": -84.0, "delay_ns": 212.0, "zenith_deg": 63.4, "azimuth_deg": 152.0,
                     "kind": "reflection"}]},
                {"position_m": [44.0, 10.0, 1.5], "paths": [
                    {"power_db": -77.9, "delay_ns": 178.0, "zenith_deg": 57.7, "azimuth_deg": -167.2,
                     "kind": "line_of_sight"}]}],
            "receivers_m": [[42.0, 10.0, 1.5]],
        },
    },
}  # fmt: skip
