"""Fit the constants of acoustic-cavity's preset ``phyll`` to the recording, and write them as JSON.

    python benchmarks/fit_phyll_preset.py simulators/acoustic/phyll.json

Strong outputs are abs(c + sum of 4 t_k x_k), weak ones abs(c + sum of 12 t_k x_k). What these leave is split into
slow drift (one latent, with a loading for each output), jitter common to a line, glitches (rows in which a tone
has another gain), and what is independent: a gain jitter and a floor of each output.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
from sizes import sized

from hwloop.experiments import data_files
from hwloop.twin.device import ResidualNoise
from hwloop.twin.modulus import Modulus

TONE_OF_LINE = {0: 0, 2: 1, 4: 2}  # lines 1 and 3 are weak
LINES = 5
GLITCH = 0.1  # a tone's gain is in error by so much
WINDOW = 150  # rows on either side, over which drift is taken as constant
GLITCHES_KEPT = 60
LAST_ROW = sized(None, short=400)


def main() -> None:
    warnings.filterwarnings("ignore", "All-NaN")  # a row in which a line is quiet at all microphones
    measured = data_files.read_arrays(data_files.ACOUSTIC_CAVITY)
    rows = slice(1, LAST_ROW)  # row 0 is the zero stimulus
    x, y = (measured[name][rows].astype(float) for name in ("inputs", "outputs"))
    transmission, constant = fitted(x, y)
    model = np.abs(x @ transmission + constant)
    loud = model > 0.3 * model.mean(axis=0)
    error = np.where(loud, y / np.maximum(model, 1e-12) - 1, np.nan)
    slow = np.stack([windowed(column) for column in error.T], axis=1)
    left = error - slow
    lines = np.nan_to_num(np.stack([np.nanmedian(left[:, line::LINES], axis=1) for line in range(LINES)], axis=1))
    glitch = (np.abs(lines[:, list(TONE_OF_LINE)]) > GLITCH).any(axis=1)
    loadings = slow_drift(slow)
    jitter = common_jitter(left[~glitch])
    gains = 1 + slow + np.tile(lines, 4) * (jitter > 0)[np.tile(np.arange(LINES), 4)]
    noise = ResidualNoise.fitted_to((model * gains)[~glitch], y[~glitch])
    chosen = np.flatnonzero(glitch & loud.all(axis=1))
    lost = (y / model / (1 + slow))[chosen[:: max(1, len(chosen) // GLITCHES_KEPT)]]
    result = {
        "transmission_real": rounded(transmission.real),
        "transmission_imag": rounded(transmission.imag),
        "constant_real": rounded(constant.real),
        "constant_imag": rounded(constant.imag),
        "drift_loadings": rounded(loadings),
        "line_jitter": rounded(jitter),
        "channel_jitter": rounded(noise.gain),
        "floor": rounded(noise.floor),
        "glitch_rate": round(float(glitch.mean()), 4),
        "glitch_gains": rounded(lost.T),
    }
    Path(sys.argv[1]).write_text(json.dumps(result, indent=1).replace(",\n   ", ", ") + "\n")
    print(f"glitches {glitch.mean():.3f}, drift {np.abs(loadings)}")
    print("line jitter", result["line_jitter"], "\nchannel jitter", result["channel_jitter"])
    print("floor / mean", np.round(noise.floor / y.mean(axis=0), 3))


def fitted(x, y):
    """T of shape (20, 20) and the constant, each output from the inputs that reach it."""
    transmission, constant = np.zeros((20, 20), complex), np.zeros(20, complex)
    rng = np.random.default_rng(0)
    for output in range(20):
        tone = TONE_OF_LINE.get(output % 5)
        tones = (0, 1, 2) if tone is None else (tone,)
        inputs = [k for k in range(20) if k % 5 in tones]
        found = Modulus().fit(x[:, inputs], y[:, [output]], rng)
        transmission[inputs, output] = found.matrix[:, 0]
        constant[output] = found.constant[0]
    return transmission, constant


def windowed(column):
    """Running median."""
    return np.array([np.nanmedian(column[max(0, k - WINDOW) : k + WINDOW]) for k in range(len(column))])


def slow_drift(slow):
    """Each output's loading on the strongest common curve, of variance 1."""
    strong = [o for o in range(20) if o % 5 in TONE_OF_LINE]
    centred = slow - slow.mean(axis=0)
    u, _, _ = np.linalg.svd(centred[:, strong], full_matrices=False)
    latent = u[:, 0] * np.sqrt(len(slow))
    return centred.T @ latent / len(slow)


def common_jitter(left):
    """Standard deviation of the gain that a line has at all microphones: from the median covariance of two."""
    found = []
    for line in range(LINES):
        errors = np.ma.masked_invalid(np.clip(left[:, line::LINES], -4 * GLITCH, 4 * GLITCH))
        covariance = np.ma.cov(errors, rowvar=False).filled(0.0)
        found.append(np.sqrt(max(0.0, float(np.median(covariance[np.triu_indices(4, 1)])))))
    return np.array(found)


def rounded(values):
    return np.vectorize(lambda v: float(f"{v:.4g}"))(values).tolist()


if __name__ == "__main__":
    main()
