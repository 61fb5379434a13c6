"""YAML without its traps, read with errors of one line."""

import re
from pathlib import Path
from typing import Any

import yaml

from preprocess.common.errors import ConfigError


class StrictLoader(yaml.SafeLoader):
    """YAML without its two traps: duplicate keys are refused, and 1e-3 is a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a dictionary, refusing a key that stands twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key.value, str):
                raise ConfigError(f"the key in line {line} is no word")
            if key.value in seen:
                raise ConfigError(f"key {key.value!r} stands twice, again in line {line}; remove one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML implements, wants a dot in floats; YAML 1.2 and everybody else do not.
StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML document. Raises ConfigError saying what is wrong with it."""
    try:
        return yaml.load(text, StrictLoader)  # noqa: S506 - derived from SafeLoader
    except ConfigError:
        raise
    except (yaml.YAMLError, ValueError) as error:  # ValueError: the 45th of March
        for mark in ("context_mark", "problem_mark"):
            if found := getattr(error, mark, None):
                found.buffer = None  # the line itself is not shown: it may hold a password
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in the YAML file `path`."""
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; name a configuration file with --config") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold sections such as 'source:', got {type(values).__name__}")
    return values
