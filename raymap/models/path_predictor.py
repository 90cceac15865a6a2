"""What every method of paths is: measured paths at some receivers of a transmitter in, paths at others out."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from torch import Tensor

from raymap.data.path_table import PathTable
from raymap.data.point_batch import PointBatch
from raymap.models.base import Predictor


class PathPredictor(Predictor):
    """Completes a map of paths from measurements. Methods that learn nothing have no parameters.

    What is measured is an input, never remembered: weights that were trained on one set of measurements complete
    another, and whoever asks says what is known. ``turns_with_scene``: a scene that is turned about the vertical has
    the same paths, turned, and never ones that hang on the axes of the map. ``needs_measured``: where nothing is
    measured it can tell nothing.
    """

    turns_with_scene: ClassVar[bool] = False
    needs_measured: ClassVar[bool] = True

    def complete(self, measured: PathTable, receivers_m: np.ndarray) -> PathTable:
        """The paths at ``receivers_m`` (N, 3) [m], as many per receiver as ``measured`` has room for, strongest first.

        Receiver i gets the same whatever others are asked for with it. ``measured`` may hold numbers that are not
        known (NaN); no number of a path that is told is unknown. Raises ValueError if nothing is measured and the
        method needs it.

        Every receiver has a path at every rank at which any measured receiver has one (``valid``), as numbers are asked
        for where paths truly are, and which ranks a place lacks is no part of this answer. Where nothing is measured,
        by a method that needs nothing, at every rank.
        """
        raise NotImplementedError

    def ranks(self, table: PathTable, receivers_m: np.ndarray) -> np.ndarray:
        """(N, P) bool, which ranks of paths there are at receivers (N, 3), with nothing measured.

        ``table``: as for :meth:`complete`. Only of methods that need nothing measured.
        """
        raise NotImplementedError

    def validation_score(self, batch: PointBatch) -> Tensor:
        """The validation loss, which is in dB, ns and degrees whatever is trained on."""
        return self.validation_loss(batch)

    def require_room(self, measured: PathTable) -> None:
        """Raises ValueError if ``measured`` has another number of paths than the model was made for."""
        if measured.num_paths != self.config.num_paths:
            made_for = f"this model was made for {self.config.num_paths}"
            raise ValueError(f"{measured.num_paths} paths of a receiver are measured; {made_for}")

    @staticmethod
    def require_measured(measured: PathTable) -> None:
        """Raises ValueError if ``measured`` holds no path of known power."""
        if not (measured.valid & np.isfinite(measured.power_db)).any():
            raise ValueError(f"of {len(measured)} measured receivers none has a path of known power")
