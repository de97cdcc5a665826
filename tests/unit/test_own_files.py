"""Parquet, ARFF, arrays, images, series: what they hold comes back, and what is damaged is one line."""

from __future__ import annotations

import datetime
import struct
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from hwloop.errors import DatasetError
from hwloop.experiment.partition import partition
from hwloop.experiments.dataset import split
from hwloop.experiments.own_data import from_file
from hwloop.experiments.own_data.readers import content_digest

ROWS = 12
X = np.random.default_rng(0).normal(size=(ROWS, 4))
Y = np.arange(ROWS) % 3


def notes(dataset):
    return " | ".join(dataset.notes)


def test_parquet_with_text_gaps_categories_and_decimals(tmp_path):
    frame = pd.DataFrame(X[:, :2], columns=["a", "b"], index=np.arange(ROWS) + 100)
    frame["city"] = [*["Rome", "Oslo"] * 5, None, "Oslo"]
    frame["size"] = pd.Categorical(["small", "large", "small"] * 4, ["small", "large"])
    frame["price"] = [Decimal("1.50") + n for n in range(ROWS)]
    frame["count"] = pd.array([*range(11), None], dtype="Int64")
    frame["kind"] = pd.Categorical.from_codes(Y, ["low", "mid", "high"])
    frame.to_parquet(tmp_path / "t.parquet")
    dataset = from_file(str(tmp_path / "t.parquet"))
    assert dataset.class_names == ("low", "mid", "high")
    assert dataset.labels.tolist() == Y.tolist()
    assert dataset.preparation.names == ("a", "b", "city", "size", "price", "count")
    np.testing.assert_array_equal(dataset.inputs[:, :2], X[:, :2])
    assert dataset.inputs[3, 4] == 4.5
    assert np.isnan(dataset.inputs[10, 2])
    assert np.isnan(dataset.inputs[11, 5])
    assert "2 text columns one-hot, 4 features: 'city', 'size'" in notes(dataset)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.date_range("2024", periods=ROWS), "holds dates"),
        ([datetime.date(2024, 1, 1 + n) for n in range(ROWS)], "holds dates, such as '2024-01-01'"),
        ([[1, 2]] * ROWS, "holds a ndarray, neither numbers nor text"),
        ([b"xy"] * ROWS, "holds a bytes, neither numbers nor text"),
    ],
)
def test_columns_that_are_neither_numbers_nor_text(tmp_path, column, message):
    pd.DataFrame({"a": X[:, 0], "other": column, "y": Y}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DatasetError) as error:
        from_file(str(tmp_path / "t.parquet"))
    assert message in str(error.value)
    assert "--drop other" in str(error.value)
    assert from_file(str(tmp_path / "t.parquet"), drop=["other"]).preparation.names == ("a",)


@pytest.mark.parametrize("kind", ["string", "large_string", "binary"])
def test_a_small_parquet_file_of_many_long_texts_makes_no_room_for_them(tmp_path, monkeypatch, kind):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    codes = pa.array(np.zeros(100_000, dtype=np.int32))
    texts = pa.DictionaryArray.from_arrays(codes, pa.array(["x" * 1000])).cast(pa.type_for_alias(kind))
    parquet.write_table(pa.table({"text": texts, "y": codes}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 200_000
    monkeypatch.setattr("hwloop.experiments.own_data.raw.MOST_BYTES", 50_000_000)
    with pytest.raises(DatasetError, match=r"holds 100,000,000 bytes of values; at most 50,000,000"):
        from_file(str(tmp_path / "t.parquet"))
    parquet.write_table(
        pa.table({"text": texts[:9], "y": np.arange(9) % 2, "a.b": np.arange(9)}), tmp_path / "t.parquet"
    )
    assert len(parquet.read_table(tmp_path / "t.parquet")) == 9
    if kind != "binary":
        assert len(from_file(str(tmp_path / "t.parquet"), target="y").inputs) == 9


def test_parquet_without_pyarrow_says_which_extra(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DatasetError, match=r"pip install .hwloop\[export\]"):
        from_file(str(tmp_path / "t.parquet"))


ARFF = """% iris, shortened
@RELATION iris
@ATTRIBUTE length REAL
@ATTRIBUTE width  NUMERIC
@ATTRIBUTE colour {red, blue}
@ATTRIBUTE class {setosa, virginica}
@DATA
5.1,3.5,red,setosa
4.9,?,blue,virginica
4.7,3.2,?,setosa
4.6,3.1,red,virginica
"""


def test_arff_with_nominal_and_missing_values(tmp_path):
    (tmp_path / "t.arff").write_text(ARFF)
    dataset = from_file(str(tmp_path / "t.arff"))
    assert dataset.class_names == ("setosa", "virginica")
    assert dataset.preparation.feature_names == ("length", "width", "colour=blue", "colour=red")
    np.testing.assert_array_equal(
        dataset.inputs, [[5.1, 3.5, 1], [4.9, np.nan, 0], [4.7, 3.2, np.nan], [4.6, 3.1, 1]]
    )
    assert "'class' (the last column" in notes(dataset)


@pytest.mark.parametrize(
    ("arrays", "options", "names", "kind"),
    [
        ({"X": X, "y": Y}, {}, ("x1", "x2", "x3", "x4"), "classification"),
        ({"data": X.reshape(ROWS, 2, 2), "labels": Y}, {}, ("x1", "x2", "x3", "x4"), "classification"),
        ({"images": X, "target": X[:, 0] ** 2}, {}, ("x1", "x2", "x3", "x4"), "regression"),
        (
            {"rows": X, "y": Y, "speaker": np.array(list("aabbccddeeff"))},
            {"group": "speaker"},
            None,
            "classification",
        ),
        ({"X": X, "answer": Y}, {"target": "answer"}, None, "classification"),
        ({"X": X, "y": X[:, :2]}, {}, None, "regression"),
        ({"X": X, "y": Y[:, None], "names": np.array(["a", "b"])}, {}, None, "classification"),
    ],
)
def test_arrays_of_a_file(tmp_path, arrays, options, names, kind):
    np.savez_compressed(tmp_path / "t.npz", **arrays)
    dataset = from_file(str(tmp_path / "t.npz"), **options)
    np.testing.assert_array_equal(dataset.inputs, X)
    assert dataset.preparation.names == (names or ("x1", "x2", "x3", "x4"))
    assert dataset.task.kind == kind
    assert ("names" in arrays) == ("arrays left out, which are no values a row: 'names'" in notes(dataset))


def test_arrays_beside_the_features_are_none_unless_they_are_named(tmp_path):
    one_hot, ids = np.eye(3)[Y], np.arange(ROWS)
    np.savez(tmp_path / "t.npz", X=X * [1, 0, 1, 1], y=Y, one_hot=one_hot, ids=ids)
    dataset = from_file(str(tmp_path / "t.npz"), group="ids")
    assert dataset.preparation.names == ("x1", "x3", "x4")
    assert dataset.preparation.table == ("x1", "x2", "x3", "x4", "y")
    assert "neither target nor group: 'one_hot1', 'one_hot2', 'one_hot3'" in notes(dataset)
    np.savez(tmp_path / "t.npz", X_train=X, y_train=Y, X_test=X, y_test=Y, X_val=X)
    assert "arrays left out, of neither _train nor _test: 'X_val'" in notes(from_file(str(tmp_path / "t.npz")))


def test_arrays_with_a_test_set_of_their_own(tmp_path):
    np.savez(tmp_path / "t.npz", X_train=X, y_train=Y, X_test=X[:3] + 1, y_test=Y[:3])
    dataset = from_file(str(tmp_path / "t.npz"))
    assert dataset.test_rows.tolist() == [12, 13, 14]
    np.testing.assert_array_equal(dataset.inputs[12:], X[:3] + 1)


def test_a_pair_of_arrays_and_one_array_that_is_a_table(tmp_path):
    np.save(tmp_path / "X_old.npy", X)
    np.save(tmp_path / "y_old.npy", Y)
    before = content_digest(tmp_path / "X_old.npy")
    dataset = from_file(str(tmp_path / "X_old.npy"))
    np.testing.assert_array_equal(dataset.inputs, X)
    np.testing.assert_array_equal(dataset.labels, Y)
    assert "targets: y_old.npy, beside it" in notes(dataset)
    np.save(tmp_path / "y_old.npy", Y[::-1])
    assert content_digest(tmp_path / "X_old.npy") != before
    np.save(tmp_path / "table.npy", np.column_stack([X, Y]))
    alone = from_file(str(tmp_path / "table.npy"))
    np.testing.assert_array_equal(alone.inputs, X)
    assert "'x5' (the last column" in notes(alone)
    np.save(tmp_path / "cube.npy", X.reshape(ROWS, 2, 2))
    with pytest.raises(DatasetError, match=r"no targets \(y.npy beside X.npy\)"):
        from_file(str(tmp_path / "cube.npy"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X}, "has no array of 12 targets beside 'X'"),
        ({"X": X, "y": Y[:5]}, "has no array of 12 targets"),
        ({"a": X, "b": X, "y": Y}, "several arrays of rows of features"),
        ({"y": Y}, "no array of rows of features"),
        ({"X": X, "y": Y, "labels": Y}, "holds 'y', 'labels', which may all be the targets"),
        ({"X": X, "y": np.array([None] * ROWS)}, "Python objects"),
        ({"X": X, "y": Y + 1j}, "complex128"),
    ],
)
def test_arrays_that_make_no_table(tmp_path, arrays, message):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(DatasetError) as error:
        from_file(str(tmp_path / "t.npz"))
    assert message in str(error.value)


def test_a_header_that_claims_more_than_the_file_holds_makes_no_room_for_it(tmp_path):
    np.save(tmp_path / "t.npy", X)
    content = (tmp_path / "t.npy").read_bytes()
    (tmp_path / "t.npy").write_bytes(content.replace(b"(12, 4), }   ", b"(9**9, 9**9),", 1))
    with pytest.raises(DatasetError, match="cannot be read as arrays of NumPy"):
        from_file(str(tmp_path / "t.npy"))
    (tmp_path / "t.npy").write_bytes(content.replace(b"(12, 4), }      ", b"(99999999, 4), }", 1))
    with pytest.raises(DatasetError, match="more than it holds"):
        from_file(str(tmp_path / "t.npy"))


def images(folder, mode="L", size=(4, 3), count=3):
    from PIL import Image

    rng = np.random.default_rng(0)
    shape = (size[1], size[0]) if mode in ("L", "I;16") else (size[1], size[0], len(mode))
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = rng.integers(0, 255, shape).astype(np.uint16 if mode == "I;16" else np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize(("mode", "pixels"), [("L", 12), ("RGB", 36), ("RGBA", 36), ("I;16", 12)])
def test_a_folder_of_images_has_a_class_a_subfolder(tmp_path, mode, pixels):
    from PIL import Image

    folder = images(tmp_path / "pets", mode)
    (folder / "notes.txt").write_text("none")
    dataset = from_file(str(folder))
    assert dataset.inputs.shape == (6, pixels)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    first = np.asarray(Image.open(folder / "cat" / "0.png"))
    np.testing.assert_array_equal(dataset.inputs[0], (first[:, :, :3] if first.ndim == 3 else first).ravel())
    assert f"6 {'grey' if pixels == 12 else 'colour'} images of 4 x 3 pixels" in notes(dataset)
    digest = dataset.source["sha256"]
    images(tmp_path / "pets", mode, count=4)
    with pytest.raises(DatasetError, match="pets has changed since the run was begun"):
        from_file(str(folder), sha256=digest)


def test_folders_of_images_that_are_none(tmp_path):
    folder = images(tmp_path / "pets")
    images(tmp_path / "other", size=(5, 5))
    (tmp_path / "other" / "cat" / "0.png").rename(folder / "dog" / "9.png")
    with pytest.raises(DatasetError, match=r"9.png has 5 x 5 pixels.*to one size"):
        from_file(str(folder))
    (folder / "dog" / "9.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(DatasetError, match=r"9.png cannot be read as an image"):
        from_file(str(folder))
    images(tmp_path / "both" / "train")
    with pytest.raises(DatasetError, match=r"'train' seem to be parts: give .*both/train, and --test-file"):
        from_file(str(tmp_path / "both"))
    images(tmp_path / "test")
    (folder / "dog" / "9.png").unlink()
    dataset = from_file(str(folder), test_file=str(tmp_path / "test"))
    assert dataset.test_rows.tolist() == [6, 7, 8, 9, 10, 11]


def of_one(folder, *images):
    """Each in a class of its own."""
    for number, (image, ending) in enumerate(images):
        (folder / str(number)).mkdir(parents=True)
        image.save(folder / str(number) / f"a.{ending}")
    return folder


def big_endian_tiff(values):
    """A TIFF of 16 bits a value, most significant byte first, as microscopes write it."""
    height, width = values.shape
    content = values.astype(">u2").tobytes()
    tags = ((256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, height))
    entries = [struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in (*tags, (279, len(content)))]
    directory = struct.pack(">H", len(entries)) + b"".join(entries) + struct.pack(">I", 0)
    return b"MM\0*" + struct.pack(">I", 8 + len(content)) + content + directory


def test_images_of_16_bits_keep_them_in_either_order_of_bytes(tmp_path):
    values = 1000 * np.arange(12, dtype=np.uint16).reshape(3, 4)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.tif").write_bytes(big_endian_tiff(values))
    np.testing.assert_array_equal(from_file(str(tmp_path)).inputs, [values.ravel()] * 2)


def test_images_of_two_depths_are_refused_and_transparency_is_said(tmp_path):
    from PIL import Image

    grey, deep = np.arange(12, dtype=np.uint8).reshape(3, 4), np.full((3, 4), 40_000, dtype=np.uint16)
    two = of_one(tmp_path / "two", (Image.fromarray(grey), "png"), (Image.fromarray(deep), "png"))
    with pytest.raises(DatasetError, match=r"1/a.png has values of 16 bits, .*0/a.png of 8 bits"):
        from_file(str(two))
    clear = np.zeros((3, 4, 4), dtype=np.uint8)
    clear[:, :, 3] = grey
    shapes = of_one(tmp_path / "shapes", *[(Image.fromarray(clear), "png")] * 2)
    with pytest.raises(DatasetError, match="nothing but the transparency of its images varies"):
        from_file(str(shapes))
    clear[:, :, 0] = grey
    some = of_one(tmp_path / "some", (Image.fromarray(clear), "png"), (Image.fromarray(clear[:, :, :3]), "png"))
    assert "the transparency of 1 images is left out, though it varies" in notes(from_file(str(some)))


def test_test_images_must_be_of_the_shape_of_the_others(tmp_path):
    folder, turned = images(tmp_path / "pets"), images(tmp_path / "turned", size=(3, 4))
    with pytest.raises(DatasetError, match=r"a row of .*turned has shape 4 x 3, one of .*pets 3 x 4"):
        from_file(str(folder), test_file=str(turned))


def test_columns_in_time_are_one_series(tmp_path):
    times = np.arange(100.0)
    pd.DataFrame({"t": times, "u": np.sin(times), "v": np.cos(times)}).to_csv(tmp_path / "t.csv", index=False)
    settings = {"horizon": 2, "steps": 20, "washout": 5}
    dataset = from_file(str(tmp_path / "t.csv"), task="sequence", drop=["t"], target="u", settings=settings)
    assert dataset.inputs.shape == (4, 40)
    assert dataset.task.in_time
    assert partition(dataset, 0, split, 0.25, 0.0).own_test_rows  # of every seed the same
    np.testing.assert_array_equal(dataset.labels[0], np.sin(times[2:22]))
    assert dataset.source["target"] == "u"
    with pytest.raises(DatasetError, match="takes no group"):
        from_file(str(tmp_path / "t.csv"), task="sequence", group="t")
    pd.DataFrame({"u": [1.0, None, 2.0]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DatasetError, match="line 3: the series 'u' has a gap"):
        from_file(str(tmp_path / "t.csv"), task="sequence")


@pytest.mark.parametrize("name", ["t.parquet", "t.arff", "t.npz", "t.npy", "t.csv"])
@pytest.mark.parametrize(
    "content", [b"", b"\0", b"@RELATION x\n@DATA\n", b"PK\x03\x04", b"PAR1PAR1", b"\x93NUMPY"]
)
def test_what_is_no_such_file_is_one_clear_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError) as error:
        from_file(str(tmp_path / name))
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)
