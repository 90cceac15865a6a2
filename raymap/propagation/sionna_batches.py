"""Runs Sionna's PathSolver over many receivers in batches: fast, complete, and nothing lost without a word.

Three properties of sionna-rt 2.2 are worked around from outside, each in its own context manager or class, and tested
against the plain way: a kernel compiled per Receiver object, a hash table that is too small for many receivers, and a
buffer that drops what does not fit. All three touch members that are not public, which is why the extra pins 2.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np

from raymap.propagation.sionna_doctor import prepare
from raymap.scene import Transmitter

#: Receivers traced at once where surfaces scatter: every ray is then a candidate for every receiver it can see.
_SCATTERED_BATCH = 64


def traced(world, transmitter: Transmitter, receivers_m: np.ndarray, options) -> Iterator:
    """Batches of receivers in order: a ``sionna.rt.Paths``, and how many of its receivers count.

    A batch whose candidates overflow Sionna's buffer is traced again in halves, and so are those after it.
    """
    rt = prepare()
    solver = rt.PathSolver()
    counted = solver._candidate_generator = Counted(solver._candidate_generator)
    scatters = any(np.any(material.scattering_coefficient.numpy() > 0) for material in world.radio_materials.values())
    size = min(options.batch_size, _SCATTERED_BATCH) if scatters else options.batch_size
    first = 0
    while first < len(receivers_m):
        batch_m = receivers_m[first : first + size]
        # The kernel is compiled for a number of receivers: round it up, so that few numbers occur.
        width = min(1 << (len(batch_m) - 1).bit_length(), size)
        filled_m = np.concatenate([batch_m, np.repeat(batch_m[-1:], width - len(batch_m), axis=0)])
        with _devices(world, transmitter, filled_m), _wide_hash_table():
            found = solver(
                world,
                max_depth=options.max_depth,
                max_num_paths_per_src=options.max_candidates,
                samples_per_src=options.num_rays,
                specular_reflection=options.reflection,
                diffuse_reflection=scatters,
                refraction=options.refraction,
                diffraction=options.diffraction,
                seed=options.seed,
            )
        if counted.num_found < options.max_candidates:
            yield found, len(batch_m)
            first += len(batch_m)
        elif width > 1:  # Sionna drops what does not fit, in silence
            size = width // 2
        else:
            raise ValueError(
                f"one receiver has more than max_candidates={options.max_candidates} candidate paths: raise it, or "
                "shoot fewer rays (num_rays)"
            )


@contextmanager
def _wide_hash_table():
    """Lets Sionna recognise candidates in a table of 16 million entries instead of one million.

    Two candidates on one entry are taken for one. With 10,000 rays and 256 receivers in a city that loses 2 % of all
    paths, with 1,024 receivers 6 %; with this table none that we could find.
    """
    from sionna.rt.path_solvers import SBCandidateGenerator

    plain = SBCandidateGenerator.MIN_SPEC_COUNT_SIZE
    SBCandidateGenerator.MIN_SPEC_COUNT_SIZE = 1 << 24
    try:
        yield
    finally:
        SBCandidateGenerator.MIN_SPEC_COUNT_SIZE = plain


class Counted:
    """A candidate generator of Sionna that remembers how many candidates it last found."""

    def __init__(self, generator) -> None:
        self.generator = generator
        self.num_found = 0

    def __call__(self, **inputs):
        buffer = self.generator(**inputs)
        self.num_found = int(buffer.paths_counter[0])
        return buffer


@contextmanager
def _devices(world, transmitter: Transmitter, receivers_m: np.ndarray):
    """Lets a Sionna scene stand with one transmitter and many receivers, without an object per receiver.

    Sionna 2.2 compiles a kernel of its own for every Receiver object (10 to 20 s and hundreds of MB for thousands of
    them), only to copy their positions into one array. Here that array is handed over instead, by overriding the four
    members of ``Scene`` that look at the devices for the time of one call.
    """
    plain = type(world)
    world.__class__ = _scene_with_points(plain)
    world.raymap_points_m = [np.atleast_2d(transmitter.xyz_m), receivers_m]
    try:
        yield
    finally:
        world.__class__ = plain
        del world.raymap_points_m


@lru_cache(maxsize=4)
def _scene_with_points(plain: type) -> type:
    import drjit as dr
    import mitsuba as mi

    def endpoints(points_m, synthetic_array, return_velocities):
        x, y, z = (points_m * (1, -1, 1)).astype(np.float32).T
        place = mi.Point3f(mi.Float(x), mi.Float(y), mi.Float(z))
        num = len(points_m)
        antennas = dr.zeros(mi.Point3f, num) if synthetic_array else None
        return place, dr.zeros(mi.Point3f, num), antennas, dr.zeros(mi.Vector3f, num) if return_velocities else None

    class ScenePoints(plain):
        transmitters = property(lambda self: range(len(self.raymap_points_m[0])))
        receivers = property(lambda self: range(len(self.raymap_points_m[1])))

        def sources(self, synthetic_array, return_velocities):
            return endpoints(self.raymap_points_m[0], synthetic_array, return_velocities)

        def targets(self, synthetic_array, return_velocities):
            return endpoints(self.raymap_points_m[1], synthetic_array, return_velocities)

    return ScenePoints
