"""The gate: errors stop the next stage unless they are allowed, and everything found is kept and shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from preprocess.common.config import Config, load_config
from preprocess.findings import Finding, Severity
from preprocess.gate import PICTURES, TABLE, Unfit, Verdict, decide
from preprocess.manifest import make_manifest
from preprocess.validate import Judged
from tests.helpers import collection, command, write_config, write_table

ERROR = Finding(
    "leaked-artist", Severity.ERROR, "the artist 'zorn' is on two sides", "split again", (1, 3), {"rows": 2}
)
WARNING = Finding("blank", Severity.WARNING, "one picture is blank", "look at it", (2,), {})
SKIPPED: dict[str, Any] = {"version": None, "drift": [], "skew": []}


@pytest.fixture(autouse=True)
def no_tfdv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the gate does is the same with TFDV and without; without is quicker."""
    monkeypatch.setenv("PAINTINGS_TFDV", str(tmp_path / "nowhere"))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    collection(tmp_path / "pictures")
    return load_config(write_config(tmp_path))


def decided(config: Config, findings: list[Finding], allow: tuple[str, ...] = (), stage: str = TABLE, inputs: str = "",
            accepted: list[str] | None = None) -> Verdict:  # fmt: skip
    """Return the verdict on findings; `accepted` gets a word when what was found is accepted."""
    rows = make_manifest(config).with_row_index("row")
    judged = Judged(findings, SKIPPED, lambda: (accepted if accepted is not None else []).append("accepted"))
    return decide(config, stage, inputs, lambda: judged, rows, allow)


def kept(config: Config) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((config.store_folder / "validation.json").read_text())
    return found


def test_an_error_stops_the_next_stage_and_names_kind_rows_and_remedy(config: Config) -> None:
    accepted: list[str] = []
    verdict = decided(config, [WARNING, ERROR], accepted=accepted)
    with pytest.raises(Unfit, match=r"leaked-artist \(2 rows\).*validation.html.*--allow leaked-artist"):
        verdict.check()
    assert not accepted
    assert verdict.text(quiet=False).index("leaked-artist") < verdict.text(quiet=False).index("blank")
    assert "[rows 1, 3]" in verdict.text(quiet=True)
    assert "blank" not in verdict.text(quiet=True)


def test_a_warning_stops_nothing(config: Config) -> None:
    accepted: list[str] = []
    decided(config, [WARNING], accepted=accepted).check()
    assert accepted


@pytest.mark.parametrize("how", ["option", "setting"])
def test_an_allowed_error_stops_nothing_and_is_shown_as_such(config: Config, how: str) -> None:
    if how == "setting":
        validation = config.validation.model_copy(update={"allow": ["leaked-artist"]})
        config = config.model_copy(update={"validation": validation})
    verdict = decided(config, [ERROR], ("leaked-artist",) if how == "option" else ())
    verdict.check()
    assert "error, allowed: leaked-artist" in verdict.text(quiet=True)
    assert "leaked-artist · allowed" in (config.store_folder / "validation.html").read_text()
    other = Finding("all-blank-artist", Severity.ERROR, "all are blank", "look", (), {})
    with pytest.raises(Unfit, match="all-blank-artist; see"):
        decided(config, [ERROR, other], ("leaked-artist",), inputs="others").check()


def test_all_rows_are_kept_and_the_first_are_shown(config: Config) -> None:
    many = Finding("many", Severity.WARNING, "many rows", "look", tuple(range(20)), {"rows": 20})
    decided(config, [many])
    assert kept(config)["stages"][TABLE]["findings"][0]["rows"] == list(range(20))
    page = (config.store_folder / "validation.html").read_text()
    assert "The first of 20 rows" in page
    assert page.count("00.jpg") == 1
    assert "12.jpg" not in page


def test_what_tables_say_is_shown_and_never_run(tmp_path: Path) -> None:
    collection(tmp_path / "pictures")
    config = load_config(write_config(tmp_path, source={"unmatched": "quarantine"}))
    bad = "<script>alert(1)</script>"
    write_table(tmp_path / "pictures" / "train_info.csv",
                [("00.jpg", bad, bad, bad, bad, bad), ("01.png", "zorn", "", "", "", "")])  # fmt: skip
    decided(config, [Finding("odd", Severity.ERROR, f"row 0 is by {bad}", bad, (0,), {})])
    page = (config.store_folder / "validation.html").read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 6
    assert "http" not in page.replace("http-equiv", "")


def test_what_has_not_changed_is_not_judged_again(config: Config) -> None:
    decided(config, [ERROR])
    again = decided(config, [])
    assert again.findings == [ERROR]
    assert decided(config, [], inputs="others").findings == []
    assert decided(config, [ERROR], ("blank",), inputs="others").findings == [ERROR]


def test_asked_to_install_tfdv_it_judges_again_what_was_judged_without(config: Config) -> None:
    decided(config, [ERROR])
    rows = make_manifest(config).with_row_index("row")
    again = decide(config, TABLE, "", lambda: Judged([WARNING], SKIPPED, lambda: None), rows, install=True)
    assert again.findings == [WARNING]


def test_another_table_forgets_what_was_found_in_pictures(config: Config) -> None:
    decided(config, [])
    decided(config, [WARNING], stage=PICTURES)
    assert kept(config)["stages"].keys() == {TABLE, PICTURES}
    assert "one picture is blank" in (config.store_folder / "validation.html").read_text().lower()
    decided(config, [], inputs="others")
    assert kept(config)["stages"].keys() == {TABLE}


def test_the_table_of_a_small_collection_is_judged(config: Config, tmp_path: Path) -> None:
    answer = command("validate", "--config", tmp_path / "config.yaml")
    assert answer.status == 0, answer
    assert "note: tfdv-skipped" in answer.out
    assert "0 errors" in answer.out
    told = json.loads(command("validate", "--json", "--config", tmp_path / "config.yaml").out)
    assert told["errors"] == 0
    assert Path(told["page"]).is_file()


def test_a_table_without_artists_stops_with_status_2(config: Config, tmp_path: Path) -> None:
    write_table(tmp_path / "pictures" / "train_info.csv", [("00.jpg", "a title")], header="filename,title")
    answer = command("validate", "--config", tmp_path / "config.yaml")
    assert "has no column 'artist'" in answer.complaint


def test_a_truncated_file_is_found_with_its_row_once_pictures_were_read(tmp_path: Path) -> None:
    names = collection(tmp_path / "pictures", 40)
    path = write_config(tmp_path, split={"validation_paintings": 0.3, "test_paintings": 0.3})
    assert command("store", "--config", path).status == 0
    answer = command("validate", "--config", path, program="pipeline")
    assert answer.status == 0, answer
    found = json.loads((tmp_path / "stores" / "pictures" / "validation.json").read_text())
    corrupt = next(one for one in found["stages"][PICTURES]["findings"] if one["kind"] == "corrupt")
    assert corrupt["rows"] == sorted(names.index(name) for name in ("broken.jpg", "text.png"))
    page = (tmp_path / "stores" / "pictures" / "validation.html").read_text()
    assert "image file is truncated" in page
    assert "data:image/jpeg;base64," in page


def test_pictures_are_judged_only_once_they_are_stored(config: Config, tmp_path: Path) -> None:
    answer = command("validate", "--config", tmp_path / "config.yaml", program="pipeline")
    assert "has no store yet; run 'make store'" in answer.complaint


def test_a_page_is_written_for_the_least_that_a_table_can_hold(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True)
        (tmp_path / "pictures" / name).write_bytes(b"")
    config = load_config(write_config(tmp_path, source={"kind": "folders"}))
    verdict = decided(config, [])
    assert "Fit to train on?" in (verdict.folder / "validation.html").read_text()
