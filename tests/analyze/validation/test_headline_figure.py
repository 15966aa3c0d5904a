"""The reliability curve shows every set of neurons, where P is calibrated and where it is not."""

import re

import numpy as np

from analyze.validation.headline_figure import reliability_curve


def heights(svg: str) -> list[float]:
    """y of the markers of the only line, in the order of P; SVG counts from the top."""
    return [
        float(y) for y in re.findall(r'<use xlink:href="#m\w+" x="[\d.]+" y="([\d.]+)" style="fill: #0072B2', svg, re.I)
    ][:8]  # then the legend's


def test_a_calibrated_p_rises_and_a_useless_one_is_flat():
    rng = np.random.default_rng(0)
    p, weight = rng.random(8000), np.ones(8000)
    calibrated = reliability_curve({"these": (p, rng.random(8000) < p, weight)}, 0.9, 0.1)
    useless = reliability_curve({"these": (p, rng.random(8000) < 0.5, weight)}, 0.9, 0.1)
    rise = [abs(np.diff(heights(svg)).sum()) for svg in (calibrated, useless)]
    assert len(heights(calibrated)) == 8
    assert rise[0] > 10 * rise[1] > 0


def test_every_set_has_a_line_and_the_thresholds_are_drawn():
    one = np.array([True, False] * 50)
    sets = {name: (np.linspace(0, 1, 100), one, np.ones(100)) for name in ("matched", "symmetric")}
    svg = reliability_curve(sets, 0.97, 0.07)
    for word in ("matched", "symmetric", "several", "calibrated"):
        assert f">{word}<" in svg
