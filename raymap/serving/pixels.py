"""Pictures in a request: checked by their header before a pixel is unpacked."""

from __future__ import annotations

import base64
import binascii
import io
import warnings

import numpy as np

from raymap.serving.problems import Problem


def heights_m(png_base64: str, height_m: float, max_cells: int) -> np.ndarray:
    """(H, W) float32 building heights [m] of a PNG: black 0, white ``height_m``, transparent 0.

    Raises Problem: 422 for what is no PNG, 413 for one of more than ``max_cells`` pixels, which is not unpacked.
    """
    from PIL import Image, UnidentifiedImageError

    field = "area.png_base64"
    try:
        content = base64.b64decode(png_base64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(422, field, png_base64, f"base64 ({error})") from error
    try:
        with warnings.catch_warnings():
            # Pillow warns of what could be a decompression bomb; the header's size is judged here.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content), formats=("PNG",))
            if picture.width * picture.height > max_cells:
                raise Problem(413, field, [picture.height, picture.width], f"at most {max_cells:,} pixels")
            found = np.asarray(picture.convert("LA"), np.float32)
    except Image.DecompressionBombError as error:
        raise Problem(413, field, str(error), f"at most {max_cells:,} pixels") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise Problem(422, field, png_base64, f"a PNG picture ({error})") from error
    grey, opaque = found[..., 0], found[..., 1]
    return np.where(opaque >= 128, grey / 255.0 * np.float32(height_m), 0.0).astype(np.float32)
