"""What a user says of settings on the command line, and what is said back where settings are wrong."""

import difflib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel

from preprocess.common.errors import ConfigError
from preprocess.common.places import shown
from preprocess.common.strict_yaml import parse_yaml


def parsed(override: str) -> tuple[list[str], Any]:
    """Return the keys and the value of "a.b=value"; the value is YAML. Raises ConfigError."""
    dotted, equals, text = override.partition("=")
    keys = dotted.split(".")
    if not equals or not keys[-1]:
        raise ConfigError(f"--set takes key=value such as train.batch=256, got {shown(repr(override))}")
    try:
        return keys, parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"--set {shown(override)}: {error}") from None


def put(values: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Put a value into nested dictionaries under its keys. Raises ConfigError where one of them holds no others."""
    *sections, key = keys
    for section in sections:
        if values.get(section) is None:
            values[section] = {}
        values = values[section]
        if not isinstance(values, dict):
            raise ConfigError(f"{'.'.join(keys)}: {section!r} is not a section")
    values[key] = value


def recipe_in(values: dict[str, Any]) -> list[tuple[list[str], Any]]:
    """Return keys and values of the recipe that `values` choose. Raises ConfigError for one that is not there."""
    chosen, recipes = values.get("recipe"), values.get("recipes")
    names = recipes if isinstance(recipes, dict) else {}
    if chosen is None:
        return []
    if chosen not in names:
        raise ConfigError(f"recipe should be one of {', '.join(names) or 'those in recipes'}, got {chosen!r}")
    recipe = names[chosen]
    if not isinstance(recipe, dict) or {"recipe", "recipes"} & {str(dotted).split(".")[0] for dotted in recipe}:
        raise ConfigError(f"recipes.{chosen} should hold settings such as train.batch: 256, got {shown(repr(recipe))}")
    return [(str(dotted).split("."), value) for dotted, value in recipe.items()]


def explain(problem: dict[str, Any], schema: type[BaseModel]) -> str:
    """Turn one of pydantic's findings about `schema` into a line: the dotted key, what is wanted and what was got."""
    location = [str(part) for part in problem["loc"]]
    dotted = ".".join(location)
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(location[-1], known_keys(schema, location[:-1]), n=1)
        hint = f"did you mean {'.'.join([*location[:-1], close[0]])!r}?" if close else "remove it"
        return f"unknown key {dotted!r}; {hint}"
    message = str(problem["msg"])
    if not dotted:  # settings that do not agree; the message names them
        return message.removeprefix("Value error, ")
    if problem["type"] == "model_type":
        message = "should be a section, with its settings indented below it"
    for prefix in ("Value error, ", "Input ", "List "):
        message = message.removeprefix(prefix)
    return f"{dotted} {message}, got {shown(repr(problem['input']))}"


def known_keys(schema: type[BaseModel], section: Sequence[str]) -> list[str]:
    """Return the keys that the section of `schema` at this dotted path knows."""
    kind: Any = schema
    for name in section:
        if not name.isdigit():  # a place in a list
            kind = section_in(kind.model_fields[name].annotation)
    return list(kind.model_fields)


def section_in(annotation: Any) -> Any:
    """Return the class of the section that a field holds, be it in a list or optional."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(section_in(part) for part in get_args(annotation) if part is not type(None))
