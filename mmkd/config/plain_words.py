"""Validates one section; pydantic's errors about it become plain words: what was found and what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from mmkd.config.problems import KeyPath, Problem, did_you_mean, listed, shown
from mmkd.config.yaml_tree import Node

Schema = Mapping[str, Any]
Model = TypeVar("Model", bound=BaseModel)

OF_VALIDATORS = {"value_error", "assertion_error"}
# All others are pydantic's, about types and bounds, or custom ones, whose words are their validator's own.
OF_TYPES = {*get_args(ErrorType)} - {"missing", "extra_forbidden"} - OF_VALIDATORS
TYPES = {
    "integer": "an integer",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a map",
    "null": "null",
}
BOUNDS = {
    "exclusiveMinimum": "greater than",
    "minimum": "of at least",
    "exclusiveMaximum": "less than",
    "maximum": "of at most",
}


def validated(section: type[Model], root: Node, path: KeyPath, problems: list[Problem]) -> Model | None:
    """The section at the path of the tree `root`; None, and its mistakes added to `problems`, when it is wrong."""
    try:
        return section.model_validate(root.nearest(path).plain())
    except ValidationError as error:
        problems += problems_of(error, section, root, path)
        return None


def problems_of(error: ValidationError, section: type[BaseModel], root: Node, path: KeyPath) -> list[Problem]:
    """The mistakes in words, that of a union once for each branch.

    path: where the section stands in the tree `root`.
    """
    schema = _schema_of(section)
    node = root.nearest(path)
    found = [(_data_path(node, each, schema), each) for each in error.errors(include_url=False)]
    around = {inner[:length] for inner, _ in found for length in range(len(inner))}
    problems = []
    for inner, each in found:
        # A list with a wrong item is also "too short", and a map for `number | map` is also "no number".
        if inner in around and each["type"] in OF_TYPES:
            continue
        message = _message(each, inner, node, schema)
        problems.append(Problem(root.nearest((*path, *inner)).place, (*path, *inner), message))
    return problems


@cache
def _schema_of(section: type[BaseModel]) -> Schema:
    try:
        return section.model_json_schema(by_alias=True)
    except PydanticInvalidForJsonSchema:  # a plug-in of one's own with a type of one's own
        return {}


def _data_path(top: Node, error: ErrorDetails, schema: Schema) -> KeyPath:
    """The error's location without the names that pydantic puts in for the branches of a union."""
    node, path = top, list[str | int]()
    last = len(error["loc"]) - 1
    for number, key in enumerate(error["loc"]):
        inner = node.child(key)
        if inner is None:
            # A key that the file lacks is in place where it is missing, or where its default is refused.
            known = _map_at(schema, tuple(path), top).get("properties", {})
            if number < last or not (error["type"] == "missing" or key in known):
                continue
        node = inner or node
        path.append(key)
    return tuple(path)


def _message(error: ErrorDetails, path: KeyPath, node: Node, schema: Schema) -> str:
    if error["type"] == "extra_forbidden":
        known = list(_map_at(schema, path[:-1], node).get("properties", {}))
        key = str(path[-1])
        return f"unknown key `{key}`; expected one of {listed(known)}{did_you_mean(key, known)}"
    if error["type"] == "missing":
        return f"missing; expected {described(_schema_at(schema, path, node, schema), schema)}"
    if error["type"] not in OF_TYPES:
        text = error["msg"]
        if error["type"] in OF_VALIDATORS:  # "Value error, " stands before their own words
            text = text.partition(", ")[2] or text
        value = node.nearest(path).plain()
        return text if isinstance(value, dict | list) else f"found {shown(value)}; {text}"
    if error["loc"][-1:] == ("[key]",):
        wanted, value = _map_at(schema, path[:-1], node).get("propertyNames", {}), path[-1]
        found = f"the name `{value}`"
    else:
        wanted, value = _schema_at(schema, path, node, schema), node.nearest(path).plain()
        found = shown(value)
    expected = f"expected {described(wanted, schema)}{_near(value, wanted)}" if wanted else error["msg"]
    return f"found {found}; {expected}"


def _near(value: object, schema: Schema) -> str:
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return did_you_mean(value, map(str, choices)) if isinstance(value, str) else ""


def _schema_at(schema: Schema, path: KeyPath, node: Node | None, root: Schema) -> Schema:
    """The JSON Schema of the value at the path below `node`; of a union, a branch that has the next key."""
    if not path:
        return _resolved(schema, root)
    for branch in _branches(schema, node, root):
        if isinstance(path[0], int):
            prefix = branch.get("prefixItems", [])
            inner = prefix[path[0]] if path[0] < len(prefix) else branch.get("items")
        else:
            every = [*branch.get("patternProperties", {}).values(), branch.get("additionalProperties")]
            inner = branch.get("properties", {}).get(path[0], every[0])
        if isinstance(inner, dict):
            return _schema_at(inner, path[1:], node and node.child(path[0]), root)
    return {}


def _map_at(schema: Schema, path: KeyPath, node: Node) -> Schema:
    """The JSON Schema of the map at the path below `node`; of a union, a branch that is a map."""
    branches = _branches(_schema_at(schema, path, node, schema), node.nearest(path), schema)
    return next((branch for branch in branches if branch.get("type") == "object"), {})


def _branches(schema: Schema, node: Node | None, root: Schema) -> list[Schema]:
    """The branches of a union, first that of the `kind` of the map `node`, then that which knows most of its keys.

    What is no union is its own branch.
    """
    schema = _resolved(schema, root)
    branches = [_resolved(branch, root) for branch in schema.get("anyOf", schema.get("oneOf", [schema]))]
    keys = node.entries.keys() if node else set[str]()
    kind = node.entries["kind"].value if node and "kind" in keys else None

    def rank(branch: Schema) -> tuple[bool, int]:
        known = branch.get("properties", {})
        return known.get("kind", {}).get("const") != kind, -len(keys & known.keys())

    return sorted(branches, key=rank)


def _resolved(schema: Schema, root: Schema) -> Schema:
    if "$ref" in schema:
        found: Schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def described(schema: Schema, root: Schema) -> str:
    """What a JSON Schema allows, in words: `an integer greater than 0`."""
    schema = _resolved(schema, root)
    if "anyOf" in schema or "oneOf" in schema:
        return ", or ".join(described(branch, root) for branch in _branches(schema, None, root))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    kind = schema.get("type")
    words = TYPES.get(kind, "a value") if isinstance(kind, str) else "a value"
    if "properties" in schema:
        return f"{words} with the keys {', '.join(schema['properties'])}"
    bounds = [f"{phrase} {schema[key]:g}" for key, phrase in BOUNDS.items() if key in schema]
    if bounds:
        return f"{words} {' and '.join(bounds)}"
    if "description" in schema and ("pattern" in schema or kind is None):
        return str(schema["description"]).rstrip(".").lower()
    if "pattern" in schema:
        return f"{words} that matches {schema['pattern']}"
    if "prefixItems" in schema:
        return f"{words} of {len(schema['prefixItems'])}: " + ", ".join(
            described(s, root) for s in schema["prefixItems"]
        )
    items = described(schema["items"], root) if schema.get("items") else ""
    least = schema.get("minItems", schema.get("minProperties", 0))
    return words + (f" of at least {least}" if least else "") + (f" (each: {items})" if items else "")
