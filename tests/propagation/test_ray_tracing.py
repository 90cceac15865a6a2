"""Sionna RT against closed forms: Friis, images, reciprocity. What needs LLVM skips with the doctor's reason."""

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from raymap import units
from raymap.physics import materials
from raymap.propagation import meshes, ray_tracing, sionna_batches, sionna_doctor, sionna_paths
from raymap.propagation.ray_tracing import Options
from raymap.scene import Grid, PathKind, Paths, Scene, Transmitter, Vehicle

C = units.SPEED_OF_LIGHT_M_S
SIGHT = Options(max_depth=0)
MIRROR = Options(max_depth=1, diffraction=False)


@pytest.fixture(scope="module")
def tracer():
    try:
        ray_tracing.doctor()
    except (ImportError, RuntimeError) as reason:
        pytest.skip(str(reason))
    import drjit

    drjit.set_thread_count(2)
    return sionna_doctor.prepare()


def _scene(height_m=0.0, size=64, frequency_hz=3.5e9, rows=slice(0, 8), columns=slice(0, 64)) -> Scene:
    building_m = np.zeros((size, size), np.float32)
    building_m[rows, columns] = height_m
    return Scene("street", Grid((size, size), 1.0), building_m, frequency_hz=frequency_hz)


def _without_ground(scene, vehicles=None) -> meshes.MeshScene:
    whole = meshes.extrude(scene, vehicles)
    return meshes.MeshScene(whole.name, tuple(m for m in whole.meshes if m.name != "ground"), whole.frequency_hz)


def _angles(to_m) -> np.ndarray:
    """(R, 2) azimuth from +x towards +y of the grid, zenith."""
    to_m = np.atleast_2d(to_m)
    return np.stack([np.arctan2(to_m[:, 1], to_m[:, 0]), np.arccos(to_m[:, 2] / np.linalg.norm(to_m, axis=1))], -1)


def test_line_of_sight_is_friis(tracer):
    transmitter = Transmitter((20.25, 31.5, 10.0))
    rng = np.random.default_rng(0)
    receivers_m = np.column_stack([rng.uniform(1, 63, (40, 2)), rng.uniform(1, 20, 40)])
    found = ray_tracing.paths(_scene(), transmitter, receivers_m, 3, options=SIGHT)
    assert found.valid[:, 0].all() and not found.valid[:, 1:].any()
    assert (found.kind[:, 0] == PathKind.LINE_OF_SIGHT).all()
    from_m = transmitter.xyz_m - receivers_m
    distance_m = np.linalg.norm(from_m, axis=1)
    loss_db = [units.free_space_loss_db(length_m, 3.5e9) for length_m in distance_m]
    assert found.gain_db[:, 0] == pytest.approx(-np.array(loss_db), abs=0.01)
    assert found.delay_s[:, 0] == pytest.approx(distance_m / C, rel=1e-5)
    assert found.aoa_rad[:, 0] == pytest.approx(_angles(from_m), abs=1e-3)
    assert found.aod_rad[:, 0] == pytest.approx(_angles(-from_m), abs=1e-3)
    turns = np.angle(found.gain[:, 0] * np.exp(2j * np.pi * 3.5e9 * distance_m / C))
    assert np.abs(turns).max() < 0.02  # the carrier's phase belongs to the gain


def test_a_wall_mirrors_the_transmitter(tracer):
    scene = _without_ground(_scene(20.0))  # its wall is the plane y = 8 m
    transmitter, receiver_m = Transmitter((12.0, 20.0, 2.0)), np.array([[50.0, 15.0, 1.5]])
    found = ray_tracing.paths(scene, transmitter, receiver_m, 4, options=MIRROR)
    assert found.kind[0, found.valid[0]].tolist() == [PathKind.LINE_OF_SIGHT, PathKind.REFLECTION]
    image_m = np.array([12.0, -4.0, 2.0])
    from_m = image_m - receiver_m[0]
    length_m = np.linalg.norm(from_m)
    assert found.delay_s[0, 1] == pytest.approx(length_m / C, rel=1e-5)
    assert found.aoa_rad[0, 1] == pytest.approx(_angles(from_m)[0], abs=1e-3)
    mirrored = -from_m * (1, -1, 1)
    assert found.aod_rad[0, 1] == pytest.approx(_angles(mirrored)[0], abs=1e-3)
    gamma = materials.fresnel(abs(from_m[1]) / length_m, materials.permittivity("concrete", 3.5e9), "TE")
    expected_db = 20 * np.log10(abs(gamma)) - units.free_space_loss_db(length_m, 3.5e9)
    assert found.gain_db[0, 1] == pytest.approx(expected_db, abs=0.1)


def test_a_corner_diffracts_into_the_shadow(tracer):
    scene = _without_ground(_scene(30.0, rows=slice(20, 44), columns=slice(0, 30)))
    transmitter, receiver_m = Transmitter((10.0, 10.0, 1.5)), np.array([[33.0, 40.0, 1.5]])
    found = ray_tracing.paths(scene, transmitter, receiver_m, 3, options=Options(max_depth=1))
    assert found.kind[0, 0] == PathKind.DIFFRACTION
    length_m = np.hypot(20, 10) + np.hypot(3, 20)
    assert found.delay_s[0, 0] == pytest.approx(length_m / C, rel=1e-4)
    assert found.gain_db[0, 0] < -units.free_space_loss_db(length_m, 3.5e9) - 10


def test_power_is_reciprocal(tracer):
    # Not so with diffraction: Sionna's coefficient of a lossy wedge is up to 8 dB off its own reverse in deep shadow.
    scene = ray_tracing.to_sionna(_scene(12.0, rows=slice(20, 30), columns=slice(10, 40)))
    ends_m = np.array([[5.0, 5.0, 2.0], [30.0, 50.0, 1.5], [50.0, 12.0, 4.0], [45.0, 36.0, 1.5]])
    options = Options(max_depth=2, diffraction=False)
    power = [
        (np.abs(ray_tracing.paths(scene, Transmitter(tuple(end_m)), ends_m, 30, options=options).gain) ** 2).sum(1)
        for end_m in ends_m
    ]
    power_db = 10 * np.log10(np.array(power) + 1e-15)
    assert (power_db > -100).sum() == 12
    assert power_db == pytest.approx(power_db.T, abs=0.01)


def test_many_receivers_at_once_are_sionnas_own_receivers(tracer):
    rt = tracer
    transmitter = Transmitter((5.0, 40.0, 3.0))
    rng = np.random.default_rng(3)
    receivers_m = np.column_stack([rng.uniform(1, 63, 30), rng.uniform(32, 63, 30), np.full(30, 1.5)])
    world = ray_tracing.to_sionna(_scene(15.0, rows=slice(10, 30), columns=slice(8, 50)))
    options = Options(max_depth=2, num_rays=3000)
    ours = ray_tracing.paths(world, transmitter, receivers_m, 12, options=options)
    world.add(rt.Transmitter("tx", position=[5.0, -40.0, 3.0]))
    world.add([rt.Receiver(f"rx{i}", position=[x, -y, z]) for i, (x, y, z) in enumerate(receivers_m.tolist())])
    found = rt.PathSolver()(
        world, max_depth=2, samples_per_src=3000, refraction=False, diffraction=True, seed=options.seed
    )
    plain = sionna_paths.convert(found, 30, 3.5e9, 12)
    assert np.array_equal(ours.valid, plain.valid) and np.array_equal(ours.kind, plain.kind)
    for name in ("delay_s", "gain_db"):
        assert getattr(ours, name)[ours.valid] == pytest.approx(getattr(plain, name)[ours.valid], rel=1e-4)
    assert set(world.receivers) == {f"rx{i}" for i in range(30)}  # the scene is as it was


def test_batches_that_overflow_are_traced_in_halves(tracer, monkeypatch):
    counts = []
    generate = sionna_batches.Counted.__call__

    def counted(self, **inputs):
        buffer = generate(self, **inputs)
        counts.append(self.num_found)
        return buffer

    monkeypatch.setattr(sionna_batches.Counted, "__call__", counted)
    world = ray_tracing.to_sionna(_scene(15.0))
    transmitter = Transmitter((30.0, 40.0, 3.0))
    receivers_m = np.array([[10.0, 50.0, 1.5], [50.0, 45.0, 1.5]])
    whole = ray_tracing.paths(world, transmitter, receivers_m, 4, options=MIRROR)
    tight = replace(MIRROR, max_candidates=counts[0])
    halved = ray_tracing.paths(world, transmitter, receivers_m, 4, options=tight)
    assert len(counts) == 4 and max(counts[2:]) < counts[0]
    assert np.array_equal(whole.valid, halved.valid) and np.allclose(whole.gain, halved.gain, rtol=1e-3)
    with pytest.raises(ValueError, match="one receiver has more than max_candidates=1 "):
        ray_tracing.paths(world, transmitter, receivers_m, 4, options=replace(MIRROR, max_candidates=1))


def test_a_room_has_its_six_images(tracer):
    size_m = np.array([10.0, 8.0, 5.0])
    place_m, receiver_m = np.array([3.0, 5.0, 2.5]), np.array([7.5, 2.0, 1.0])
    found = ray_tracing.paths(
        meshes.room(tuple(size_m)), Transmitter(tuple(place_m)), receiver_m[None], 9, options=MIRROR
    )
    images_m = [place_m]
    for axis in range(3):
        for wall_m in (0.0, size_m[axis]):
            image_m = place_m.copy()
            image_m[axis] = 2 * wall_m - place_m[axis]
            images_m.append(image_m)
    from_m = np.array(images_m) - receiver_m
    expected_s = np.sort(np.linalg.norm(from_m, axis=1) / C)
    assert found.valid[0].sum() == 7
    assert np.sort(found.delay_s[0, :7]) == pytest.approx(expected_s, rel=1e-5)
    assert (found.kind[0, 1:7] == PathKind.REFLECTION).all()
    order = np.argsort(found.delay_s[0, :7])
    assert found.aoa_rad[0, order] == pytest.approx(
        _angles(from_m[np.argsort(np.linalg.norm(from_m, axis=1))]), abs=2e-3
    )


def test_a_lorry_blocks_the_sight(tracer):
    lorry = Vehicle((32.0, 32.0), 0.0, (12.0, 2.5, 4.0))
    transmitter, receiver_m = Transmitter((32.0, 20.0, 1.5)), np.array([[32.0, 44.0, 1.5]])
    free = ray_tracing.paths(_scene(), transmitter, receiver_m, options=SIGHT)
    blocked = ray_tracing.paths(ray_tracing.to_sionna(_scene(), [lorry]), transmitter, receiver_m, options=SIGHT)
    assert free.valid.any() and not blocked.valid.any()


def test_a_map_is_valid_where_something_arrives(tracer):
    scene = _scene(20.0, size=24, rows=slice(8, 14), columns=slice(0, 24))
    transmitter = Transmitter((4.5, 4.5, 1.5))
    radio_map = ray_tracing.solve(scene, transmitter, options=Options(max_depth=1, num_rays=3000, diffraction=False))
    assert radio_map.valid[:8].all()  # the transmitter's own cell as well
    assert not radio_map.valid[8:].any()  # inside, and behind a wall across the whole map
    assert (radio_map.gain_db[8:] == units.GAIN_FLOOR_DB).all()
    rows, columns = np.mgrid[:8, :24] + 0.5
    loss_db = 20 * np.log10(np.maximum(np.hypot(rows - 4.5, columns - 4.5), 0.38)) + units.free_space_loss_db(
        1.0, 3.5e9
    )
    assert (radio_map.gain_db[:8] > -loss_db - 0.1).all() and (radio_map.gain_db[:8] < -loss_db + 4.5).all()


def test_a_rough_wall_scatters(tracer):
    scene = _without_ground(_scene(20.0))
    transmitter, receiver_m = Transmitter((12.0, 20.0, 2.0)), np.array([[50.0, 15.0, 1.5]])
    rough = Options(max_depth=1, diffraction=False, scattering_coefficient=0.5)
    found = ray_tracing.paths(scene, transmitter, receiver_m, 40, options=rough)
    kinds = set(found.kind[found.valid].tolist())
    assert kinds == {PathKind.LINE_OF_SIGHT, PathKind.REFLECTION, PathKind.SCATTERING}
    smooth = ray_tracing.paths(scene, transmitter, receiver_m, 2, options=MIRROR)
    # the specular share keeps (1 − S²) of its power
    assert found.gain_db[0, 1] - smooth.gain_db[0, 1] == pytest.approx(10 * np.log10(0.75), abs=0.05)


def test_a_city_is_the_city_of_sionna(tracer):
    rt = tracer
    import sionna

    transmitter = Transmitter((0.0, -150.0, 40.0))
    rng = np.random.default_rng(5)
    receivers_m = np.column_stack([rng.uniform(-150, 150, (25, 2)), np.full(25, 1.5)])
    options = Options(max_depth=1, diffraction=False, num_rays=30_000)
    ours = ray_tracing.paths("etoile", transmitter, receivers_m, 6, options=options)
    shipped = rt.load_scene(sionna.rt.scene.etoile)
    theirs = ray_tracing.paths(shipped, transmitter, receivers_m, 6, options=options)
    assert ours.valid.any(1).sum() > 5
    assert np.array_equal(ours.valid[:, 0], theirs.valid[:, 0])
    assert ours.gain_db[ours.valid[:, 0], 0] == pytest.approx(theirs.gain_db[ours.valid[:, 0], 0], abs=0.02)


def test_open_space_and_arrays(tracer):
    rt = tracer
    transmitter, receivers_m = Transmitter((1.0, 2.0, 3.0)), np.array([[4.0, 6.0, 3.0]])
    empty = meshes.MeshScene("nothing", (), 3.5e9)
    found = ray_tracing.paths(empty, transmitter, receivers_m, 2)
    assert found.valid.tolist() == [[True, False]]
    assert found.gain_db[0, 0] == pytest.approx(-units.free_space_loss_db(5.0, 3.5e9), abs=0.01)
    assert ray_tracing.paths(empty, transmitter, np.zeros((0, 3)), 2).valid.shape == (0, 2)
    world = ray_tracing.to_sionna(empty)
    world.rx_array = rt.PlanarArray(num_rows=2, num_cols=1, pattern="iso", polarization="V")
    with pytest.raises(ValueError, match="rx_array has 2 antennas"):
        ray_tracing.paths(world, transmitter, receivers_m)


def test_scattered_rays_near_each_other_are_one_path():
    power = np.array([[1e-8, 4e-9, 3e-9, 2e-9, 1e-9, 5e-9]])
    delay_s = np.array([[50, 60, 61, 64, 60.5, 60]]) * 1e-9
    aoa_rad = np.zeros((1, 6, 2))
    aoa_rad[..., 1] = np.pi / 2
    aoa_rad[0, 4, 0] = np.deg2rad(20.0)
    scattering, reflection = PathKind.SCATTERING, PathKind.REFLECTION
    kind = np.array([[0, scattering, scattering, scattering, scattering, reflection]])
    paths = Paths(np.sqrt(power), delay_s, aoa_rad, aoa_rad, kind, np.ones((1, 6), bool))
    merged = sionna_paths.merge_scattered(paths)
    assert merged.valid.tolist() == [[True, True, False, True, True, True]]
    assert np.abs(merged.gain[0, 1]) ** 2 == pytest.approx(7e-9, rel=1e-5)
    assert (np.abs(merged.gain) ** 2).sum() == pytest.approx(power.sum(), rel=1e-5)


def test_kinds_follow_the_strongest_claim():
    interactions = np.array([[0, 1, 2, 8, 4, 1], [0, 1, 1, 1, 0, 4]])[:, None]
    expected = [PathKind.LINE_OF_SIGHT, PathKind.REFLECTION, PathKind.SCATTERING, PathKind.DIFFRACTION,
                PathKind.TRANSMISSION, PathKind.REFLECTION]  # fmt: skip
    assert sionna_paths.kinds(interactions).tolist() == [expected]
    assert sionna_paths.kinds(np.zeros((0, 2, 3), int)).tolist() == [[0, 0, 0]] * 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, t: ray_tracing.paths(s, t, np.zeros((3, 2))), r"places \(R, 3\).*\(3, 2\)"),
        (lambda s, t: ray_tracing.paths(s, t, np.full((1, 3), np.nan)), "finite"),
        (lambda s, t: ray_tracing.paths(s, t, np.ones((1, 3)), 0), "num_paths must be at least 1"),
        (lambda s, t: ray_tracing.paths(s, Transmitter((3, 3, 2)), np.ones((1, 3))), "inside a building.*20 m high"),
        (lambda s, t: ray_tracing.to_sionna("munich", materials=meshes.Materials()), "raster Scene only"),
        (lambda s, t: Options(num_rays=0), "num_rays must be at least 1"),
        (lambda s, t: Options(scattering_coefficient=1.5), r"scattering_coefficient must lie in \[0, 1\]"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(_scene(20.0), Transmitter((30.0, 30.0, 2.0)))


def _needs_package():
    if find_spec("mitsuba") is None:
        pytest.skip("sionna-rt is not installed")


@pytest.fixture
def fresh_doctor():
    sionna_doctor.doctor.cache_clear()
    yield
    sionna_doctor.doctor.cache_clear()


def test_the_doctor_says_what_to_install(fresh_doctor, monkeypatch):
    _needs_package()
    monkeypatch.setattr(sionna_doctor.ctypes.util, "find_library", lambda name: None)
    monkeypatch.setenv(sionna_doctor.ENVIRONMENT, "/nowhere/libLLVM.so")
    with pytest.raises(RuntimeError, match=r"libllvm19.*/nowhere/libLLVM.so: no such file"):
        sionna_doctor.doctor()


def test_the_doctor_survives_a_library_that_is_none(fresh_doctor, monkeypatch, tmp_path):
    _needs_package()
    monkeypatch.setattr(sionna_doctor.ctypes.util, "find_library", lambda name: None)
    broken = tmp_path / "libLLVM-19.so"
    broken.write_bytes(b"no library")
    monkeypatch.setenv(sionna_doctor.ENVIRONMENT, str(broken))
    with pytest.raises(RuntimeError, match=r"libLLVM-19.so: exit code"):
        sionna_doctor.doctor()


def test_without_the_package_the_extra_is_named(fresh_doctor, monkeypatch):
    monkeypatch.setattr(sionna_doctor, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'raymap\[sionna\]'"):
        sionna_doctor.doctor()


def test_old_libraries_are_passed_over(monkeypatch, tmp_path):
    for name in ("libLLVM-14.so.1", "libLLVM-19.so", "libLLVM.so.20.1", "libLLVM-9.so", "libLLVM.so", "libLLVM.a"):
        (tmp_path / name).touch()
    monkeypatch.setattr(sionna_doctor, "_PLACES", (str(tmp_path / "libLLVM*"),))
    names = [path.rsplit("/", 1)[1] for path in sionna_doctor.libraries()]
    assert names == ["libLLVM.so.20.1", "libLLVM-19.so", "libLLVM.so"]
    assert sionna_doctor.version("/usr/lib/llvm-16/lib/libLLVM.so.1") == 16


def test_nothing_heavy_is_imported_before_it_is_needed():
    heavy = ("mitsuba", "sionna", "drjit")
    check = f"import sys, raymap.propagation.ray_tracing; print([name for name in {heavy} if name in sys.modules])"
    child = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=120)
    assert child.stdout.strip() == "[]", child.stderr
