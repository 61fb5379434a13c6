"""TensorFlow Data Validation: faults planted in tables are found with their rows; its environment is kept apart.

Most of these need the environment: .venv-tfdv, or PAINTINGS_TFDV; CI_TFDV=1 makes it.
"""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from preprocess import environment
from preprocess.common.config import Config, load_config
from preprocess.environment import Unavailable, make_environment
from preprocess.findings import Finding, Severity
from preprocess.gallery.plan import plan, table
from preprocess.parsed import features, with_years
from preprocess.validate import ask_tfdv, judge_table
from tests.tables import COUNT, FAULTS, Fault, manifest, replaced


@pytest.fixture(scope="session")
def tfdv() -> Path:
    """The Python of TFDV's environment; skips where there is none."""
    try:
        return make_environment() if os.environ.get("CI_TFDV") == "1" else environment.python()
    except Unavailable as error:
        pytest.skip(f"no TensorFlow Data Validation: {error}; or set CI_TFDV=1")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "config.yaml").write_text("source: {kind: csv, path: pictures}\n")
    return load_config(tmp_path / "config.yaml")


def found(config: Config, rows: pl.DataFrame, kind: str) -> Finding:
    """Return the one finding of a kind."""
    judged = judge_table(config, rows)
    assert judged.tfdv["version"], judged.findings
    return next(finding for finding in judged.findings if finding.kind == kind)


@pytest.mark.usefixtures("tfdv")
def test_nothing_is_found_in_a_good_table(config: Config) -> None:
    assert judge_table(config, manifest({})).findings == []


@pytest.mark.usefixtures("tfdv")
def test_no_error_is_found_in_the_tables_of_galleries(config: Config) -> None:
    for seed in range(2):
        text = table(seed, 20, plan(seed, 400, 20))
        listed = pl.read_csv(text.encode(), infer_schema=False).rename({"filename": "key"})
        rows = manifest({name: listed[name] for name in listed.columns}, len(listed))
        assert [one for one in judge_table(config, rows).findings if one.severity == Severity.ERROR] == []


@pytest.mark.usefixtures("tfdv")
def test_a_flood_of_an_unknown_style_is_an_error_that_names_its_rows(config: Config) -> None:
    flood = range(100, 150)
    error = found(config, manifest(replaced("style", dict.fromkeys(flood, "Blobism"))), "unknown-style")
    assert error.severity == Severity.ERROR
    assert error.rows == tuple(flood)
    assert "'Blobism' (50)" in error.what


@pytest.mark.usefixtures("tfdv")
def test_a_few_unknown_styles_pass(config: Config) -> None:
    rows = manifest(replaced("style", dict.fromkeys(range(10), "Blobism")))
    assert judge_table(config, rows).findings == []


@pytest.mark.usefixtures("tfdv")
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_is_found_with_its_rows(config: Config, fault: Fault) -> None:
    rows = manifest(fault.columns)
    table = features(with_years(rows.drop("side").with_row_index("row")))
    said = environment.run_tfdv(environment.python(), table, "table")["anomalies"]
    assert [(one["feature"], one["kind"]) for one in said] == fault.said
    finding = found(config, rows, fault.kind)
    assert (finding.severity, finding.rows) == (fault.severity, fault.rows)


@pytest.mark.usefixtures("tfdv")
def test_a_missing_column_is_told_and_an_error_where_it_was_there_before(config: Config) -> None:
    bare = manifest({"style": [None] * COUNT})
    assert found(config, bare, "missing-column").severity == Severity.WARNING
    judge_table(config, manifest({})).accept()
    error = found(config, bare, "missing-column")
    assert error.severity == Severity.ERROR
    assert error.what == "no row has a style, and before they had"


@pytest.mark.usefixtures("tfdv")
def test_drifted_sizes_are_found_with_the_rows_of_an_unusual_size(config: Config) -> None:
    good = manifest({})
    judge_table(config, good).accept()
    sizes = good["bytes"].to_list()
    rows = manifest({"bytes": [50 * size if row >= 200 else size for row, size in enumerate(sizes)]})
    for _ in range(2):  # judged again, it is compared with the same as before
        judged = judge_table(config, rows)
        drift = next(one for one in judged.findings if one.kind == "drift")
        assert "file size" in drift.what
        assert set(drift.rows) <= set(range(200, 300))
        assert len(drift.rows) > 80
        judged.accept()
    assert judge_table(config, rows.with_columns(title=pl.lit("another"))).findings == []


@pytest.mark.usefixtures("tfdv")
def test_a_side_unlike_the_training_side_is_found_and_of_unseen_artists_only_noted(config: Config) -> None:
    def sides(other: str) -> pl.DataFrame:
        rows = manifest({"style": ["Cubism" if row % 3 == 0 else "Realism" for row in range(900)]}, 900)
        names = ["train" if row % 3 else other for row in range(900)]
        return rows.with_columns(side=pl.Series(names)).with_row_index("row")

    for side, severity in (("test_seen", Severity.WARNING), ("test_unseen", Severity.NOTE)):
        judged = ask_tfdv(config, sides(side), "store")
        skew = next(one for one in judged.findings if one.kind == "skew" and "style" in one.what)
        assert skew.severity == severity
        assert skew.rows == tuple(range(0, 900, 3))
        assert {one["feature"] for one in judged.tfdv["skew"]} >= {"style", "genre", "year", "log2_bytes"}


@pytest.mark.usefixtures("tfdv")
def test_the_real_table_has_the_faults_that_are_known(config: Config, shared_data: Path) -> None:
    real = pl.read_csv(shared_data / "painter-by-numbers" / "train_info.csv", infer_schema=False)
    rows = manifest({name: real[name] for name in real.columns if name != "filename"}
                    | {"key": real["filename"]}, len(real))  # fmt: skip
    judged = ask_tfdv(config, rows.with_row_index("row"), "table")
    assert judged.tfdv["version"]
    assert [(one.kind, one.severity) for one in judged.findings] == [("impossible-date", Severity.WARNING)]
    assert real[judged.findings[0].rows[0], "date"] == "187.0"


@pytest.mark.usefixtures("tfdv")
def test_a_schema_of_ones_own_knows_ones_own_styles(config: Config, tmp_path: Path) -> None:
    own = tmp_path / "schema.pbtxt"
    own.write_text(environment.SCHEMA.read_text().replace('value: "academicism"', 'value: "blobism"'))
    rows = manifest({"style": ["Blobism"] * COUNT})
    assert found(config, rows, "unknown-style").severity == Severity.ERROR
    validation = config.validation.model_copy(update={"schema_file": own})
    assert judge_table(config.model_copy(update={"validation": validation}), rows).findings == []


@pytest.mark.usefixtures("tfdv")
def test_text_of_any_kind_comes_through(config: Config) -> None:
    odd = ['"', ",", "\r", "\n", "\t", "NA", "null", "山水", "a\0b", "=1+1", "'", "\\"]
    assert judge_table(config, manifest({"title": [odd[row % len(odd)] for row in range(COUNT)]})).findings == []


def test_without_its_environment_it_is_skipped_by_name_and_our_own_checks_are_made(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAINTINGS_TFDV", str(tmp_path / "nowhere"))
    judged = judge_table(config, manifest(replaced("date", {17: "2999"})))
    kinds = {one.kind: one for one in judged.findings}
    assert kinds["impossible-date"].rows == (17,)
    assert "TensorFlow Data Validation was skipped" in kinds["tfdv-skipped"].what
    assert "'make validate' makes it" in kinds["tfdv-skipped"].what
    assert judged.tfdv["version"] is None


def test_one_style_in_many_spellings_is_one() -> None:
    told = ["Naïve_Art (Primitivism)", "NaiveArt-Primitivism", " naive art  primitivism ", "  ", None]
    rows = manifest({"style": told, "genre": [None] * 5}, 5)
    seen = features(with_years(rows))
    assert seen["style"].to_list() == ["naive art primitivism"] * 3 + [None, None]
    assert "genre" not in seen.columns


def test_a_machine_without_a_compiler_is_told_so_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PAINTINGS_TFDV", str(tmp_path / "env"))
    with pytest.raises(Unavailable, match=r"no C\+\+ compiler; install one \(apt install g\+\+\)"):
        make_environment()
    assert not (tmp_path / "env" / "bin").exists()


@pytest.mark.parametrize("version", [(3, 12, 1), (3, 13, 0)])
def test_a_newer_python_on_an_older_system_is_told_so(
    version: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("preprocess.environment.sys.version_info", version)
    monkeypatch.setattr("preprocess.environment.platform.libc_ver", lambda: ("glibc", "2.36"))
    with pytest.raises(Unavailable, match=r"needs glibc 2.39 or newer.*PYTHON=python3.11"):
        environment.check_machine(tmp_path)
    monkeypatch.setattr("preprocess.environment.platform.libc_ver", lambda: ("glibc", "2.39"))
    environment.check_machine(tmp_path)


def test_an_installation_that_fails_is_told_with_what_pip_said_and_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(f"--no-index\nno-such-package==1 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr(environment, "LOCK", lock)
    monkeypatch.setenv("PAINTINGS_TFDV", str(tmp_path / "env"))
    with pytest.raises(Unavailable, match=r"installing it failed: 'ERROR: .*no-such-package"):
        make_environment()
    with pytest.raises(Unavailable, match="is not there"):
        environment.python()


def test_the_environment_is_made_apart_from_the_trainers_and_again_for_another_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("# nothing\n")
    monkeypatch.setattr(environment, "LOCK", lock)
    monkeypatch.setenv("PAINTINGS_TFDV", str(tmp_path / "env"))
    made = make_environment()
    prefix = subprocess.run([made, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert Path(prefix.stdout.strip()) == tmp_path / "env" != Path(sys.prefix)
    assert make_environment() == made
    lock.write_text("# other\n")
    with pytest.raises(Unavailable, match="is not there"):
        environment.python()
