"""Tables of the user's own: what is read, what is chosen and said, and one clear line for what is refused."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest

import hwloop
from hwloop.errors import ConfigError, DatasetError
from hwloop.experiment.config import load_experiment
from hwloop.experiment.partition import partition
from hwloop.experiments.dataset import split
from hwloop.experiments.own_data import from_file

ROWS = 12


def table(**columns):
    """Two columns of numbers and a class, with others in their place or before the class."""
    rng = np.random.default_rng(0)
    frame = {"a": rng.random(ROWS).round(3), "b": rng.random(ROWS).round(3)}
    return pd.DataFrame(frame | columns | {"kind": columns.get("kind", ["x", "y"] * (ROWS // 2))})


def written(folder, frame, name="table.csv", **options):
    path = folder / name
    frame.to_csv(path, index=False, **options)
    return path


def read(folder, frame, **options):
    return from_file(str(written(folder, frame)), **options)


def notes(dataset):
    return " | ".join(dataset.notes)


@pytest.mark.parametrize(
    ("separator", "name", "said"),
    [
        (",", "t.csv", ""),
        (";", "t.csv", "separated by semicolons"),
        ("\t", "t.tsv", ""),
        ("\t", "t.txt", "separated by tabs"),
        ("|", "t.data", "separated by bars"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_values_are_read_to_the_last_bit_whatever_separates_them(tmp_path, separator, name, said, encoding):
    frame = table(a=np.random.default_rng(3).normal(size=ROWS) * 1e12, ö=np.arange(ROWS) ** 2)
    dataset = from_file(str(written(tmp_path, frame, name, sep=separator, encoding=encoding)))
    np.testing.assert_array_equal(dataset.inputs, frame[["a", "b", "ö"]])
    assert dataset.preparation.names == ("a", "b", "ö")
    assert dataset.class_names == ("x", "y")
    assert "'kind' (the last column" in notes(dataset)
    assert said in notes(dataset)
    assert dataset.notes[0].endswith(f"{name}: 12 rows of 3 columns")


def test_without_a_header_columns_are_numbered_and_a_nameless_index_is_left_out(tmp_path):
    frame = table()
    frame.to_csv(tmp_path / "bare.csv", index=False, header=False)
    dataset = from_file(str(tmp_path / "bare.csv"))
    assert dataset.preparation.names == ("x1", "x2")
    assert "have no names; they are called x1 to x3" in notes(dataset)
    frame.to_csv(tmp_path / "index.csv")
    dataset = from_file(str(tmp_path / "index.csv"))
    assert dataset.preparation.names == ("a", "b")
    assert "first column has no name" in notes(dataset)


NOISE = pd.DataFrame(np.random.default_rng(2).normal(size=(30, 3)))


@pytest.mark.parametrize(
    ("frame", "index", "names"),
    [
        (NOISE, False, ("0", "1")),
        (NOISE, True, ("0", "1")),
        (NOISE.assign(target=np.repeat([0, 1, 2], 10)), True, ("0", "1", "2")),
        (NOISE.sample(frac=1, random_state=0).assign(target=list("abc") * 10), True, ("0", "1", "2")),
        (NOISE.mask(NOISE > 1).assign(target=list("abc") * 10), False, ("0", "1", "2")),
        (NOISE.drop(columns=1).assign(target=list("abc") * 10), True, ("0", "2")),
        (NOISE[[0]].assign(target=[0, 1] * 15), False, ("0",)),
        (NOISE.set_axis([1, 2, 3], axis=1), False, ("1", "2")),
    ],
)
def test_columns_that_pandas_counts_have_names_and_row_numbers_are_no_feature(tmp_path, frame, index, names):
    frame.to_csv(tmp_path / "t.csv", index=index)
    dataset = from_file(str(tmp_path / "t.csv"))
    assert len(dataset.inputs) == 30
    assert dataset.preparation.names == names
    assert dataset.preparation.named
    assert "the numbers in its first line are taken for names" in notes(dataset)


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        ("0,1,2\n3,4,5\n6,7,9\n", None),
        ("2020,2021,target\n3,4,0\n6,7,1\n5,6,0\n", None),
        ("1,2\n2,4\n3,6\n", 3),
        ("1,2,3\n4,5,6\n7,8,8\n", 3),
        ("0,1,yes\n1,0,no\n1,1,yes\n", 3),
        ("1.5,nan,0\n2.5,3,1\n3.5,4,0\n", 3),
        (",5,x\n4,6,y\n9,7,x\n", 3),
    ],
)
def test_a_first_line_of_numbers_is_a_row_unless_it_may_be_names(tmp_path, lines, rows):
    (tmp_path / "t.csv").write_text(lines)
    if rows is None:
        with pytest.raises(
            DatasetError, match=r"line 1: holds .*, which may be names or values; give every column"
        ):
            from_file(str(tmp_path / "t.csv"))
    else:
        assert len(from_file(str(tmp_path / "t.csv")).inputs) == rows


@pytest.mark.parametrize(
    ("target", "kind", "class_names"),
    [
        (["x", "y"] * 6, "classification", ("x", "y")),
        ([3, 10, 3] * 4, "classification", ("3", "10")),
        ([1.0, 0.0] * 6, "classification", ("0", "1")),
        ([True, False] * 6, "classification", ("False", "True")),
    ],
)
def test_the_task_is_guessed_and_said(tmp_path, target, kind, class_names):
    dataset = read(tmp_path, table(kind=target))
    assert (dataset.task.kind, dataset.class_names) == (kind, class_names)
    assert f"taken for {kind}" in notes(dataset)
    assert [dataset.class_names[label] for label in dataset.labels[:3]] == [
        str(value).removesuffix(".0") for value in target[:3]
    ]
    said = read(tmp_path, table(kind=target), target="kind", task=kind)
    assert "taken for" not in notes(said)
    assert "last column" not in notes(said)


def test_text_is_one_hot_and_gaps_are_filled_from_training_rows_alone(tmp_path):
    frame = table(
        a=[np.nan, 1, 2, 30, 4, 5, 6, 7, 8, 9, 10, 11], colour=[None, *["red", "blue", "red"] * 3, "green", "red"]
    )
    dataset = read(tmp_path, frame)
    assert "1 text column one-hot, 3 features: 'colour'" in notes(dataset)
    assert "2 missing values, filled in with the training rows' median" in notes(dataset)
    train = np.array([1, 2, 3, 11])
    data = partition(dataset, 0, lambda *_: Rows(train, np.arange(4, 6), np.array([0, 10])), 0.2, 0.1)
    np.testing.assert_array_equal(data.test.inputs[0], [6.5, frame["b"][0], 0, 0, 1])
    np.testing.assert_array_equal(data.test.inputs[1], [10, frame["b"][10], 0, 0, 0])
    np.testing.assert_array_equal(data.train.inputs[:, 2:], [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 1]])
    assert data.preparation.feature_names == ("a", "b", "colour=blue", "colour=green", "colour=red")
    assert type(data.preparation).from_dict(data.preparation.as_dict()) == data.preparation


class Rows:
    def __init__(self, train, validation, test):
        self.train, self.validation, self.test = train, validation, test


def test_a_preparation_is_what_scikit_learn_fits(tmp_path):
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "c"])
    frame = frame.mask(rng.random(frame.shape) < 0.2)
    frame["city"] = pd.Series(rng.choice(["Rome", "Oslo", "Bern"], 60)).mask(rng.random(60) < 0.2)
    frame["kind"] = np.arange(60) % 2
    data = partition(read(tmp_path, frame), 0, split, 0.25, 0.0)
    rows = split(read(tmp_path, frame), 0, 0.25)
    text = make_pipeline(SimpleImputer(strategy="most_frequent", missing_values=None), OneHotEncoder())
    peer = make_column_transformer((SimpleImputer(strategy="median"), ["a", "b", "c"]), (text, ["city"]))
    given = frame.assign(city=frame["city"].astype(object).where(frame["city"].notna(), None))
    peer.fit(given.iloc[rows.train])
    np.testing.assert_array_equal(data.test.inputs, peer.transform(given.iloc[rows.test]))


def test_what_the_columns_show_is_said(tmp_path):
    frame = table(same=[7] * ROWS, empty=[np.nan] * ROWS, word=["one"] * ROWS, huge=np.arange(ROWS) % 5 * 1e12)
    frame = pd.concat([frame, frame.iloc[:2]], ignore_index=True)
    dataset = read(tmp_path, frame)
    assert dataset.preparation.names == ("a", "b", "huge")
    assert "3 constant columns left out: 'same', 'empty', 'word'" in notes(dataset)
    assert "2 rows are copies of others" in notes(dataset)
    numbered = pd.DataFrame({"Id": np.arange(1, 31), "a": np.arange(30) % 7, "kind": np.arange(30) % 2})
    assert "'Id' counts the rows" in notes(read(tmp_path, numbered))
    for order in (np.random.default_rng(0).permutation(30), np.where(np.arange(30) == 4, np.nan, np.arange(30))):
        assert "'Id' counts the rows" in notes(read(tmp_path, numbered.assign(Id=order)))
    dropped = read(tmp_path, numbered, drop=["Id"])
    assert dropped.preparation.names == ("a",)
    lonely = table(kind=["x"] * 5 + ["y"] * 6 + ["z"])
    assert "one row alone is of 'z': it is trained on and never tested" in notes(read(tmp_path, lonely))


def test_groups_stay_together_and_a_test_file_is_the_test_part(tmp_path):
    frame = table(who=list("ppqqrrssttuu"))
    dataset = read(tmp_path, frame, group="who")
    assert dataset.preparation.names == ("a", "b")
    assert dataset.groups.tolist() == list("ppqqrrssttuu")
    spaced = read(tmp_path, table(who=["p", "p ", *"qqrrssttuu"]), group="who")
    assert spaced.groups.tolist() == list("ppqqrrssttuu")
    test = written(tmp_path, table(b=np.arange(ROWS)).iloc[::-1, [2, 1, 0]], "test.csv")
    dataset = from_file(str(written(tmp_path, table())), target="kind", test_file=str(test))
    assert dataset.test_rows.tolist() == list(range(12, 24))
    assert dataset.inputs[12:, 1].tolist() == list(range(11, -1, -1))
    assert set(dataset.source) == {"target", "task", "sha256", "test_sha256"}
    with pytest.raises(DatasetError, match=r"test\.csv has no column 'b', which .*table\.csv has"):
        from_file(
            str(written(tmp_path, table())),
            test_file=str(written(tmp_path, table().drop(columns="b"), "test.csv")),
        )


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        (["01", "02", "x"], ["01", "02", "02"], ["01", "02", "x", "01", "02", "02"]),
        (["01", "02", "01"], ["x", "02", "01"], ["01", "02", "01", "x", "02", "01"]),
        (["TRUE", "x", "FALSE"], ["TRUE", "FALSE", "TRUE"], ["TRUE", "x", "FALSE", "TRUE", "FALSE", "TRUE"]),
        (["1", "2", "1"], ["1.0", "2.0", "2.0"], ["1", "2", "1", "1", "2", "2"]),
        (["x ", "y", "x"], ["x", "y ", "x"], ["x", "y", "x", "x", "y", "x"]),
    ],
)
def test_equal_texts_stay_equal_whatever_the_other_rows_of_their_file_hold(tmp_path, train, test, expected):
    files = [tmp_path / "train.csv", tmp_path / "test.csv"]
    for path, texts in zip(files, (train, test), strict=True):
        rows = [f"{n}.5,{text},{text},{text}\n" for n, text in enumerate(texts)]
        path.write_text("a,grade,who,kind\n" + "".join(rows))
    with pytest.raises(DatasetError, match="both in its test rows and outside of them"):
        from_file(str(files[0]), group="who", test_file=str(files[1]), task="classification")
    dataset = from_file(str(files[0]), drop=["who"], test_file=str(files[1]), task="classification")
    assert [dataset.class_names[label] for label in dataset.labels] == expected
    same = np.array(expected)[:, None] == np.array(expected)
    np.testing.assert_array_equal(dataset.inputs[:, 1:] == dataset.inputs[:, 1], same)


def test_classes_are_told_apart_to_the_last_digit_and_forms_of_one_are_said(tmp_path):
    codes = [2**53, 2**53 + 1, 2**53 + 2] * 4
    assert read(tmp_path, table(kind=codes)).class_names == tuple(map(str, codes[:3]))
    with pytest.raises(DatasetError, match=r"beyond 2\*\*53.*write classes as text"):
        read(tmp_path, table(kind=[1e16, 2e16] * 6), task="classification")
    said = notes(read(tmp_path, table(b=["1", "1.0", "x"] * 4, kind=["a", "A"] * 6)))
    assert "'b': '1', '1.0' are written differently, so they count as 2" in said
    assert "classes: 'A', 'a' are written differently" in said


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"target": "kin"}, "no column 'kin' (target): did you mean 'kind'?"),
        ({}, {"drop": ["c"]}, "no column 'c' (to drop)"),
        ({}, {"group": "who"}, "no column 'who' (group)"),
        ({}, {"target": "kind", "drop": ["kind"]}, "'kind' cannot be the target and be dropped"),
        ({}, {"target": ["a", "a"]}, "name each target once"),
        ({}, {"drop": ["a", "b"]}, "no column beside the target"),
        ({}, {"task": "classify"}, "unknown task 'classify': did you mean 'classification'?"),
        ({"kind": ["x"] * ROWS}, {}, "every row is of the class 'x'"),
        ({"kind": ["x", None] * 6}, {}, "the target 'kind' is missing in 6 of 12 rows, first in line 3"),
        ({"a": [1, np.inf] * 6}, {}, "line 3: column 'a' is inf"),
        ({"a": [1, 10**400] * 6}, {}, "line 3: column 'a' is inf"),
        ({"kind": [1, np.inf] * 6}, {}, "line 3: the target 'kind' is inf"),
        ({"a": ["1,001", "2,500"] * 6}, {}, "whose comma may cut thousands or decimals; write '1001' or '1.001'"),
        ({"a": ["1,001,000", "250"] * 6}, {}, "commas between thousands, such as '1,001,000'; write '1001000'"),
        ({"a": ["1,5", "2,5"] * 6}, {}, "column 'a' holds numbers with a decimal comma, such as '1,5'"),
        (
            {"a": [*range(11), "n.d."]},
            {},
            "column 'a' holds 'n.d.' in line 13, where nearly all others are numbers",
        ),
        ({"a": ["2024-01-01", "2024-02-02"] * 6}, {}, "column 'a' holds dates, such as '2024-01-01'"),
        ({"a": ["01.12.2024", "31.01.2024"] * 6}, {}, "column 'a' holds dates, such as '01.12.2024'"),
        ({"a": ["12/31/2024 10:15", "1/2/2024 8:05"] * 6}, {}, "column 'a' holds dates, such as '1/2/2024 8:05'"),
        ({"a": [1.0] * ROWS, "b": [2] * ROWS}, {}, "none of its columns varies"),
    ],
)
def test_what_cannot_be_learned_from_is_one_clear_line(tmp_path, change, options, message):
    with pytest.raises((DatasetError, ConfigError)) as error:
        read(tmp_path, table(**change), **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    if options.get("task") is None and "column 'a'" in message:
        assert "--drop a" in str(error.value) or "inf" in message


def test_texts_that_are_no_categories_name_the_option_that_leaves_them_out(tmp_path):
    frame = pd.DataFrame({"name": [f"person {n}" for n in range(50)], "a": np.arange(50) % 9, "kind": [0, 1] * 25})
    with pytest.raises(DatasetError, match=r"'name' holds 50 different texts.*no categories.*--drop name"):
        read(tmp_path, frame)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no rows"),
        ("a,b,kind\n", "holds no rows"),
        ("a,b,kind\n1,2\n", "line 2: has 2 values, where the first line has 3"),
        ("a,b,kind\n1,2,x\n1,2,x,9\n", "line 3: has 4 values, where the first line has 3"),
        ("a,a,kind\n1,2,x\n", "two columns are called 'a'"),
        ("a,,kind\n1,2,x\n", "column 2 has no name"),
        ('a,b,kind\n1,"2,x\n', "cannot be read as a table of text"),
        ("a,b,kind\n1,2,x\0\n", "cannot be read"),
        (b"a,b,kind\n1,2,\xe4\n", "cannot be read as text in UTF-8 (byte 0xe4)"),
        ("a,b,kind\n1,2,x\n".encode("utf-16"), "cannot be read as text in UTF-8 (byte 0xff)"),
        (
            b"Laenge, cm;Breite, cm;Klasse\n0,3;-0,5;gut\n",
            "cut alike by commas into 3 and semicolons into 3 values",
        ),
        (
            b"a;b;class\n" + b"0,3;-0,5;gut\n0,1;2,5;bad\n" * 6,
            "column 'a' holds numbers with a decimal comma, such as '0,1'",
        ),
    ],
)
def test_a_file_that_is_no_table_is_one_clear_line(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DatasetError) as error:
        from_file(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_absent_too_large_or_of_no_known_kind(tmp_path, monkeypatch):
    with pytest.raises(DatasetError, match="cannot be read"):
        from_file(str(tmp_path / "none.csv"))
    (tmp_path / "table.docx").write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match=r"nothing reads \.docx; known: \.csv"):
        from_file(str(tmp_path / "table.docx"))
    path = written(tmp_path, table())
    monkeypatch.setattr("hwloop.experiments.own_data.readers.MOST_BYTES", 10)
    with pytest.raises(DatasetError, match="at most 10 are read"):
        from_file(str(path))
    monkeypatch.undo()
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DatasetError, match="no ordinary file"):
        from_file(str(tmp_path / "pipe.csv"))
    monkeypatch.setattr("hwloop.experiments.own_data.raw.MOST_COLUMNS", 2)
    with pytest.raises(DatasetError, match="has 3 columns; at most 2 are read"):
        from_file(str(path))
    monkeypatch.undo()
    monkeypatch.setattr("hwloop.experiments.own_data.raw.MOST_VALUES", 10)
    with pytest.raises(DatasetError, match="at most 10 values are read"):
        from_file(str(path))


EXPERIMENT = 'name = "t"\ndevice = "optical-fibre"\ntrainer = "local"\n[dataset]\n'


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ('name = "digits"\nfile = "a.csv"', "give a dataset a name (see hwloop list) or a file"),
        ('target = "a"', "give a dataset a name"),
        ('name = "digits"\ntarget = "a"', "the dataset 'digits' has a target of its own"),
        ('name = "digits"\ntest_file = "a"', "test_file and sha256 belong to a dataset with a file"),
        ('file = "a.csv"\nsettings = {x = 1}', "a file takes settings where the task is sequence alone"),
        ('file = "a.csv"\ntargt = "a"', "unknown key 'dataset.targt': did you mean 'target'"),
        ('file = ""', "dataset.file"),
    ],
)
def test_a_dataset_that_contradicts_itself_is_refused(tmp_path, entries, message):
    (tmp_path / "t.toml").write_text(EXPERIMENT + entries)
    with pytest.raises(ConfigError) as error:
        load_experiment(tmp_path / "t.toml")
    assert message in str(error.value)


def test_files_are_found_beside_the_experiment_and_settings_beside_the_user(tmp_path, monkeypatch):
    (tmp_path / "t.toml").write_text(EXPERIMENT + 'file = "data/a.csv"\ntest_file = "b.csv"')
    monkeypatch.chdir(tmp_path.parent)
    dataset = load_experiment(tmp_path / "t.toml").dataset
    assert (dataset.file, dataset.test_file) == (str(tmp_path / "data/a.csv"), str(tmp_path / "b.csv"))
    changed = load_experiment(tmp_path / "t.toml", ["dataset.file=a.csv"]).dataset
    assert changed.file == str(tmp_path.parent / "a.csv")
    assert hwloop.experiment.parts.DatasetPart.model_validate("digits").model_dump(exclude_none=True) == {
        "name": "digits",
        "settings": {},
    }
