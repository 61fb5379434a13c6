"""Command lines: quick help, one line and exit status 2 for a user's mistake, answers for machines."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from preprocess.common.config import Config
from preprocess.store import Store
from tests.conftest import ROOT
from tests.helpers import command, contents, raiser, write_config

HEAVY = ("tensorflow", "keras", "zarr", "polars", "tensorstore", "distributed", "sklearn", "matplotlib", "pydantic")
ASK_EVERY_VERB_FOR_HELP = """
import importlib, json, sys
from click.testing import CliRunner
group = getattr(importlib.import_module(sys.argv[1] + ".__main__"), sys.argv[1])
helps = {verb: CliRunner().invoke(group, [*verb.split(), "--help"]) for verb in ["", *group.commands]}
print(json.dumps([{verb: [help.exit_code, help.output] for verb, help in helps.items()}, list(sys.modules)]))
"""


def python(*arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )


@pytest.mark.parametrize("program", ["preprocess", "pipeline", "train"])
def test_help_of_every_verb_comes_without_heavy_imports(program: str) -> None:
    helps, modules = json.loads(python("-c", ASK_EVERY_VERB_FOR_HELP, program).stdout)
    assert len(helps) >= 2
    for verb, (status, text) in helps.items():
        assert status == 0, (verb, text)
        assert text.startswith("Usage:")
        described = text.split("\n\n")[1].strip()
        assert described.endswith("."), f"{verb}: no sentence says what it does: {described!r}"
        assert verb == "" or "--config" in text or program == "train"
    assert not [name for name in HEAVY if name in modules]


@pytest.mark.parametrize("program", ["preprocess", "pipeline", "train"])
@pytest.mark.parametrize(
    "text", ["train: {bach: 8}", "preprocess: {sizes: [x]}", "train: {seed: 1, seed: 2}", "a: b: c"]
)
def test_any_command_finds_a_mistake_anywhere_in_the_file(program: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    verb = {"preprocess": "manifest", "pipeline": "split", "train": "report"}[program]
    answer = command(verb, "--config", tmp_path / "config.yaml", program=program)
    assert answer.err == answer.complaint + "\n"
    assert answer.out == ""
    assert list(contents(tmp_path)) == ["config.yaml"]


def test_a_mistake_is_one_line_and_status_2_for_a_real_process(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("train: {bach: 8}")
    answer = python("-m", "preprocess", "store", folder=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr == "error: unknown key 'train.bach'; did you mean 'train.batch'?\n"
    assert answer.stdout == ""


def test_a_missing_configuration_is_one_line_and_status_2_for_a_real_process(tmp_path: Path) -> None:
    answer = python("-m", "pipeline", "split", folder=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr == "error: config.yaml does not exist; name a configuration file with --config\n"


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    answer = command("manifest", "--config", tmp_path)
    assert str(tmp_path) in answer.complaint


def test_a_wrong_option_ends_with_status_2() -> None:
    answer = command("store", "--fast")
    assert answer.status == 2
    assert "No such option" in answer.err
    assert command("stor").status == 2


def test_set_reaches_the_command(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    missing = tmp_path / "elsewhere"
    assert str(missing) in command("manifest", "--config", path, "--set", f"source.path={missing}").complaint
    assert "train.batch" in command("manifest", "--config", path, "--set", "train.batch=7").complaint


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO])
def test_a_failure_of_the_disk_is_one_line_with_the_file(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(code, os.strerror(code), "/full/of/pictures")
    monkeypatch.setattr("preprocess.manifest.make_manifest", raiser(error))
    answer = command("manifest", "--config", write_config(tmp_path))
    assert answer.complaint.startswith("error: /full/of/pictures: ")
    assert ";" in answer.complaint  # and what to do


def test_a_bug_is_a_traceback_and_not_a_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bug in (ZeroDivisionError("oh"), OSError(errno.EBADF, "oh")):
        monkeypatch.setattr("preprocess.manifest.make_manifest", raiser(bug))
        with pytest.raises(type(bug), match="oh"):
            command("manifest", "--config", write_config(tmp_path))


def test_answers_for_machines_are_one_json_object(built: Store, built_config: Config) -> None:
    path = built_config.stores.parent / "config.yaml"
    manifest = json.loads(command("manifest", "--config", path, "--json").out)
    assert (manifest["pictures"], manifest["artists"], manifest["without_file"]) == (20, 4, 0)
    store = json.loads(command("store", "--config", path, "--json").out)
    assert (store["path"], store["pictures"], store["stored"]) == (str(built.path), 20, 18)
    assert sum(store["quarantined"].values()) == 2


def test_answers_for_people_name_every_reason(built: Store, built_config: Config) -> None:
    answer = command("store", "--config", built_config.stores.parent / "config.yaml")
    assert answer.out.startswith(f"store: 18 of 20 pictures: {built.path}\n")
    assert "1 quarantined: not a picture" in answer.out
    assert "1 quarantined: OSError: image file is truncated" in answer.out


def test_the_contact_sheet_shows_the_stored_pictures(built: Store, built_config: Config, tmp_path: Path) -> None:
    from PIL import Image

    out = tmp_path / "new" / "sheet.png"
    path = built_config.stores.parent / "config.yaml"
    assert command("sheet", "--config", path, "--rows", 7, "--out", out).status == 0
    with Image.open(out) as sheet:
        assert sheet.size == (7 * 46 + 6, 46 + 6)
