"""Documents and code agree: every setting and every command is documented, and the defaults are those of the code."""

from pathlib import Path

import click
import pytest
import yaml

from pipeline.__main__ import pipeline
from preprocess.__main__ import preprocess
from preprocess.common.config import Config, load_config
from preprocess.common.section import Section
from train.__main__ import train

ROOT = Path(__file__).parent.parent


def settings(section: Section, prefix: str = "") -> dict[str, object]:
    """Return every setting of the schema by its dotted name, with its default."""
    found: dict[str, object] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        found |= settings(value, f"{prefix}{name}.") if isinstance(value, Section) else {f"{prefix}{name}": value}
    return found


def flattened(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in values.items():
        found |= (
            flattened(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}": value}
        )
    return found


def test_config_yaml_holds_every_setting_with_its_default() -> None:
    written = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"recipes": {}}
    assert Config.model_validate(written) == Config()
    assert flattened(written).keys() == settings(Config()).keys()


def test_every_recipe_is_one_that_works() -> None:
    recipes = yaml.safe_load((ROOT / "config.yaml").read_text())["recipes"]
    learned = ["demo", "digits", "fashion", "digits-figures", "fashion-figures", "paintings", "kaggle"]
    assert list(recipes) == learned
    for name, recipe in recipes.items():
        chosen = settings(load_config(ROOT / "config.yaml", [f"recipe={name}"]))
        assert {key: chosen[key] for key in recipe} == recipe | {"source.path": ROOT / recipe["source.path"]}


def test_the_readme_has_every_setting_with_its_default() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    table = dict(line.split("|")[1:3] for line in lines if line.startswith("| `"))
    written = {name.strip(" `"): yaml.safe_load(value.strip(" `")) for name, value in table.items()}
    described = flattened(yaml.safe_load((ROOT / "config.yaml").read_text()) | {"recipes": {}})
    assert written | {"recipes": {}} == described


@pytest.mark.parametrize("group", [preprocess, pipeline, train], ids=lambda group: str(group.name))
def test_every_command_and_option_has_a_help_text(group: click.Group) -> None:
    for command in group.commands.values():
        assert command.help
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        assert all(option.help for option in options), command.name
