"""Modes of the acoustic cavity against closed forms, Weyl's law and the statistics of chaotic billiards."""

import numpy as np
import pytest

from hwloop.simulators.acoustic import eigenmodes
from hwloop.simulators.acoustic.medium import Medium
from hwloop.simulators.acoustic.shapes import Shape

RECTANGLE = Shape.named("rectangle", 1.0, 0.7)
SINAI = Shape.named("sinai", 1.0, 0.7)


def rectangle_wavenumbers(below):
    m, n = np.meshgrid(np.arange(below), np.arange(below))
    found = np.sort(np.hypot(np.pi * m, np.pi * n / 0.7).ravel())
    return found[found < below]


def spacing_ratio(levels):
    """Mean of min / max of consecutive spacings (Oganesyan and Huse, PRB 75, 155111 (2007))."""
    gaps = np.diff(levels)
    return np.mean(np.minimum(gaps[1:], gaps[:-1]) / np.maximum(gaps[1:], gaps[:-1]))


def interior_points(shape, count, seed=0):
    return np.column_stack(shape.points(*np.random.default_rng(seed).uniform(0.05, 0.95, (2, count))))


@pytest.fixture(scope="module")
def sinai():
    return eigenmodes.solve(SINAI, 300)


@pytest.fixture(scope="module")
def rectangle():
    return eigenmodes.solve(RECTANGLE, 60)


class TestRectangle:
    def test_wavenumbers_and_shapes_in_closed_form(self, rectangle):
        np.testing.assert_allclose(rectangle.wavenumbers, rectangle_wavenumbers(60)[:60], atol=1e-8)
        points = interior_points(RECTANGLE, 20)
        # The second mode is (1, 0): sqrt(2 / A) cos(pi x).
        expected = np.sqrt(2 / 0.7) * np.cos(np.pi * points[:, 0])
        found = rectangle.at(points)[:, 1]
        np.testing.assert_allclose(found * np.sign(found[0] * expected[0]), expected, atol=1e-9)
        np.testing.assert_allclose(rectangle.at(points)[:, 0], 1 / np.sqrt(0.7), rtol=1e-9)

    def test_green_function_of_one_mode_in_closed_form(self, rectangle):
        medium = Medium(
            eigenmodes.Eigenmodes(RECTANGLE, rectangle.wavenumbers[:2], rectangle.nodal[:2]), 343.0, 20.0
        )
        points, w = interior_points(RECTANGLE, 2), 900.0
        shapes = np.sqrt(2 / 0.7) * np.cos(np.pi * points[:, 0])
        expected = shapes[0] * shapes[1] / ((343 * np.pi) ** 2 - w**2 + 40j * w)
        found = medium.green(points[:1], points[1:], np.array([w]))[0, 0, 0]
        assert found == pytest.approx(expected, rel=1e-9)

    @pytest.mark.slow
    def test_number_of_modes_below_100_is_weyl_s(self):
        modes = eigenmodes.solve(RECTANGLE, 620)
        count = np.count_nonzero(modes.wavenumbers < 100)
        assert count == pytest.approx(584.3, abs=2)
        assert count == len(rectangle_wavenumbers(100))
        assert eigenmodes.weyl_count(RECTANGLE, 100.0) == pytest.approx(584.3, abs=0.5)


class TestSinai:
    def test_area_and_perimeter_are_the_polygon_s(self):
        side = np.linspace(0, 1, 4001)
        zero, one = np.zeros_like(side), np.ones_like(side)
        walls = [(side, zero), (one, side), (side[::-1], one), (zero, side[::-1])]
        x, y = np.concatenate([np.stack(SINAI.points(*wall)) for wall in walls], axis=1)
        area = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
        assert SINAI.area == pytest.approx(area, rel=1e-6)
        assert SINAI.perimeter == pytest.approx(np.hypot(np.diff(x), np.diff(y)).sum(), rel=1e-6)

    def test_number_of_modes_is_weyl_s(self, sinai):
        for number in (100, 200, 299):
            between = (sinai.wavenumbers[number - 1] + sinai.wavenumbers[number]) / 2
            assert eigenmodes.weyl_count(SINAI, between) == pytest.approx(number, abs=4)

    def test_modes_are_orthonormal_and_converged(self, sinai, monkeypatch):
        monkeypatch.setattr(eigenmodes, "SPARE_DEGREE", 4)
        coarse = eigenmodes.solve(SINAI, 300).wavenumbers
        assert np.abs(coarse / np.maximum(sinai.wavenumbers, 1) - 1)[1:].max() < 1e-4

    @pytest.mark.slow
    def test_a_typical_mode_is_a_random_wave(self, sinai):
        # The law is that of short waves, so the lowest modes are left out.
        squares = sinai.at(interior_points(SINAI, 4000))[:, 100:] ** 2
        # Berry, J. Phys. A 10, 2083 (1977): Gaussian amplitudes, with a fourth moment of 3.
        assert np.mean(squares**2) / np.mean(squares) ** 2 == pytest.approx(3.0, abs=0.2)

    @pytest.mark.slow
    def test_levels_repel_as_those_of_the_orthogonal_ensemble(self):
        levels = eigenmodes.solve(SINAI, 700).wavenumbers[20:] ** 2
        assert spacing_ratio(levels) == pytest.approx(0.5307, abs=0.03)  # Poisson: 0.386

    def test_levels_of_a_rectangle_do_not(self):
        # The sides' squares must not be in a ratio of small whole numbers: (1 / 0.7)^2 would make levels coincide.
        k = np.pi * np.arange(80)
        levels = np.sort(np.add.outer(k**2, (k / 0.7213475) ** 2).ravel())[20:1500]
        assert spacing_ratio(levels) == pytest.approx(0.386, abs=0.03)

    def test_inverse_undoes_the_map(self):
        u, v = np.random.default_rng(1).random((2, 500))
        found = SINAI.inverse(*SINAI.points(u, v))
        np.testing.assert_allclose(found, [u, v], atol=1e-9)


class TestCache:
    @pytest.fixture
    def solved(self, tmp_path, monkeypatch):
        calls = []
        real = eigenmodes.solve
        monkeypatch.setenv("HWLOOP_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(eigenmodes, "solve", lambda *a: calls.append(a) or real(*a))
        return calls

    def test_modes_are_solved_once_a_geometry(self, solved):
        first, again = eigenmodes.modes(SINAI, 10), eigenmodes.modes(SINAI, 10)
        np.testing.assert_array_equal(first.nodal, again.nodal)
        eigenmodes.modes(SINAI, 11)
        eigenmodes.modes(RECTANGLE, 10)
        assert len(solved) == 3

    @pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"x" * len(b)])
    def test_a_damaged_file_is_solved_again(self, solved, damage):
        first = eigenmodes.modes(SINAI, 10)
        (path,) = eigenmodes.folder().iterdir()
        path.write_bytes(damage(path.read_bytes()))
        again = eigenmodes.modes(SINAI, 10)
        np.testing.assert_allclose(first.wavenumbers, again.wavenumbers)
        eigenmodes.modes(SINAI, 10)
        assert len(solved) == 2

    def test_one_changed_byte_is_seen(self, solved):
        eigenmodes.modes(SINAI, 10)
        (path,) = eigenmodes.folder().iterdir()
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
        eigenmodes.modes(SINAI, 10)
        assert len(solved) == 2

    def test_a_folder_that_cannot_be_written_costs_time_only(self, solved, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("HWLOOP_CACHE", str(tmp_path / "file" / "below"))
        assert len(eigenmodes.modes(SINAI, 10).wavenumbers) == 10
