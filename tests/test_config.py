"""config.yaml: one strict schema, and messages that name the dotted key and what was got."""

from pathlib import Path

import pytest
import yaml

from preprocess.common.config import Config, load_config
from preprocess.common.errors import ConfigError


def load(tmp_path: Path, text: str, *overrides: str) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides)


def complaint(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, "# nothing\n")
    assert config.train == Config().train
    assert config.preprocess == Config().preprocess


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, "source: {kind: csv, path: a/b, table: t.csv}\nruns: /elsewhere")
    assert config.source.path == tmp_path / "a/b"
    assert config.source.table == tmp_path / "t.csv"
    assert config.store_folder == tmp_path / "stores/b"
    assert config.runs == Path("/elsewhere")


def test_a_source_path_that_ends_in_dots_stays_inside_the_stores(tmp_path: Path) -> None:
    assert load(tmp_path, "source: {path: x/y/..}").store_folder == tmp_path / "stores/x"


@pytest.mark.parametrize(
    ("text", "typo", "meant"),
    [
        ("trian: {}", "'trian'", "'train'"),
        ("source: {knd: csv}", "'source.knd'", "'source.kind'"),
        ("gallery: {picture: 30}", "'gallery.picture'", "'gallery.pictures'"),
        ("preprocess: {size: [64]}", "'preprocess.size'", "'preprocess.sizes'"),
        ("split: {sede: 1}", "'split.sede'", "'split.seed'"),
        ("pipeline: {prefech: 1}", "'pipeline.prefech'", "'pipeline.prefetch'"),
        ("train: {bach: 8}", "'train.bach'", "'train.batch'"),
        ("evaluate: {bootstap: 50}", "'evaluate.bootstap'", "'evaluate.bootstrap'"),
    ],
)
def test_an_unknown_key_of_any_section_is_refused_with_what_was_meant(
    text: str, typo: str, meant: str, tmp_path: Path
) -> None:
    message = complaint(tmp_path, text)
    assert typo in message
    assert f"did you mean {meant}" in message


def test_an_unknown_key_like_no_other_is_refused_too(tmp_path: Path) -> None:
    assert complaint(tmp_path, "train: {xyzzy: 1}") == "unknown key 'train.xyzzy'; remove it"


@pytest.mark.parametrize(
    ("text", "key", "got"),
    [
        ('train: {batch: "128"}', "train.batch", "got '128'"),
        ("train: {batch: true}", "train.batch", "got True"),
        ("train: {batch: 127.5}", "train.batch", "got 127.5"),
        ("train: {devices: 0}", "train.devices should be auto or a number, at least 1", "got 0"),
        ("train: {batch: 7}", "train.batch", "got 7"),
        ("train: {learning_rate: fast}", "train.learning_rate", "got 'fast'"),
        ("train: {learning_rate: .nan}", "train.learning_rate", "got nan"),
        ("train: {learning_rate: 0}", "train.learning_rate", "got 0"),
        ("train: {model: no}", "train.model", "got False"),
        ("train: {loss: triplet}", "train.loss", "got 'triplet'"),
        ("train: {average: 0}", "train.average", "got 0"),
        ("train: {average: 1.5}", "train.average", "got 1.5"),
        ("train: {patience: 0}", "train.patience", "got 0"),
        ("train:", "train should be a section", "got None"),
        ("train: 3", "train should be a section", "got 3"),
        ("preprocess: {sizes: 64}", "preprocess.sizes", "got 64"),
        ("preprocess: {sizes: []}", "preprocess.sizes", "got []"),
        ("preprocess: {sizes: [64, 4]}", "preprocess.sizes.1", "got 4"),
        ("preprocess: {sizes: [64, 64]}", "preprocess.sizes", "got [64, 64]"),
        ("preprocess: {max_megapixels: -1}", "preprocess.max_megapixels", "got -1"),
        ("split: {test_artists: 0.5}", "split.test_artists", "got 0.5"),
        ("source: {unmatched: ignore}", "source.unmatched", "got 'ignore'"),
        ("stores: 3", "stores", "got 3"),
        ("1: 2", "1", "got 1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_the_value(text: str, key: str, got: str, tmp_path: Path) -> None:
    message = complaint(tmp_path, text)
    assert message.startswith(key)
    assert got in message


def test_settings_that_do_not_agree_are_refused(tmp_path: Path) -> None:
    message = complaint(tmp_path, "preprocess: {sizes: [64, 32]}\ntrain: {size: 65}")
    assert "train.size" in message
    assert "preprocess.sizes [64, 32], got 65" in message
    message = complaint(tmp_path, "split: {validation_artists: 0.45, test_artists: 0.4}")
    assert "split.validation_artists + split.test_artists" in message
    assert "got 0.45 + 0.4" in message
    assert "split.fold must be less than split.folds = 5, got 5" in complaint(tmp_path, "split: {folds: 5, fold: 5}")
    message = complaint(tmp_path, "train: {model: plain, view: 0.5}")
    assert message == "train.model plain takes one size only; leave out train.stages, train.view, train.corners"
    message = complaint(tmp_path, "train: {loss: contrastive}\nevaluate: {crowding: 1}")
    assert "evaluate.crowding needs train.loss sigmoid" in message


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    message = complaint(tmp_path, "train: {bach: 1}\nsplit: {seed: -1}")
    assert "train.batch" in message
    assert "split.seed" in message


@pytest.mark.parametrize("text", ["train: {seed: 1}\ntrain: {steps: 2}", "train:\n  seed: 1\n  seed: 2\n"])
def test_a_key_that_stands_twice_is_refused_with_its_line(text: str, tmp_path: Path) -> None:
    message = complaint(tmp_path, text)
    assert "stands twice" in message
    assert str(tmp_path / "config.yaml") in message
    assert f"line {text.rstrip().count(chr(10)) + 1}" in message


@pytest.mark.parametrize(
    "text",
    [
        "train: {batch: [",
        "a: b: c",
        "\tx: 1",
        "train: {seed: 2024-13-45}",
        "seed: !!int one",
        "? [a, b]\n: 1",
        "x: !!python/object:os.system y",
    ],
)
def test_what_is_not_yaml_is_refused_with_the_file(text: str, tmp_path: Path) -> None:
    assert str(tmp_path / "config.yaml") in complaint(tmp_path, text)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xff\xfe\x00x")
    with pytest.raises(ConfigError, match=r"config\.yaml: not YAML"):
        load_config(path)


def test_a_list_is_no_configuration(tmp_path: Path) -> None:
    assert "must hold sections" in complaint(tmp_path, "- train")


def test_a_missing_file_is_named_with_the_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml does not exist.*--config"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("1E-3", 1e-3), ("5e-4", 5e-4), ("+1.e-2", 1e-2)])
def test_numbers_with_an_exponent_need_no_dot(text: str, value: float, tmp_path: Path) -> None:
    assert load(tmp_path, f"train: {{learning_rate: {text}}}").train.learning_rate == value
    assert load(tmp_path, "", f"train.learning_rate={text}").train.learning_rate == value


def test_set_overrides_the_file_and_the_last_one_wins(tmp_path: Path) -> None:
    text = "train: {batch: 8, seed: 3}\nsplit:\n"
    config = load(tmp_path, text, "train.batch=16", "train.batch=32", "split.seed=4", "preprocess.sizes=[64, 8]")
    assert (config.train.batch, config.train.seed, config.split.seed) == (32, 3, 4)
    assert config.preprocess.sizes == [64, 8]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.bach=8", "did you mean 'train.batch'"),
        ("train.batch=7", "train.batch should be a multiple of 2, got 7"),
        ("train.batch=x", "train.batch should be a valid integer, got 'x'"),
        ("train.batch=", "train.batch should be a valid integer, got None"),
        ("train.batch.size=8", "train.batch should be a valid integer, got {'size': 8}"),
        ("train.batch", "--set takes key=value"),
        ("=8", "--set takes key=value"),
        ("train.batch=[", "--set train.batch=[: not YAML"),
        ("train.seed=2024-13-45", "--set train.seed=2024-13-45: not YAML"),
        ("train={seed: 1, seed: 2}", "stands twice"),
        ("stores.x=8", "'stores' is not a section"),
    ],
)
def test_set_is_checked_like_the_file(override: str, expected: str, tmp_path: Path) -> None:
    assert expected in complaint(tmp_path, "stores: here", override)


RECIPES = """
recipe: {recipe}
train: {{steps: 7, batch: 16}}
recipes:
  short: {{train.steps: 3, pipeline.stream: pairs}}
  long: {{train.steps: 9}}
"""


def test_a_recipe_takes_the_place_of_settings_and_an_override_that_of_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(RECIPES.format(recipe="short"))
    config = load_config(path)
    assert (config.train.steps, config.train.batch, config.pipeline.stream) == (3, 16, "pairs")
    assert load_config(path, ["train.steps=5"]).train.steps == 5
    assert load_config(path, ["train.steps=5", "recipe=long"]).train.steps == 5
    assert load_config(path, ["recipe=long"]).pipeline.stream == "groups"
    assert load_config(path, ["recipe=null"]).train.steps == 7


@pytest.mark.parametrize(
    ("recipes", "expected"),
    [
        ({"long": {}, "longest": {}}, "recipe should be one of long, longest, got 'short'"),
        (None, "recipe should be one of those in recipes, got 'short'"),
        ({"short": 8}, "recipes.short should hold settings such as train.batch: 256, got 8"),
        ({"short": {"recipe": "long"}}, "recipes.short should hold settings such as train.batch: 256, got {"),
        ({"short": {"train.stepps": 1}}, "unknown key 'train.stepps'; did you mean 'train.steps'?"),
        ({"short": {"stores.x": 1}}, "stores.x: 'stores' is not a section"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(tmp_path: Path, recipes: object, expected: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"stores": "here", "recipe": "short", "recipes": recipes}))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert expected in str(caught.value)
