"""Turns pydantic's errors about one section into plain words: what was found and what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import ErrorDetails

from mmkd.config.problems import KeyPath, Problem, did_you_mean, listed, shown
from mmkd.config.yaml_tree import Node

Schema = Mapping[str, Any]

SPECIAL = {"missing", "extra_forbidden", "value_error", "assertion_error"}
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


def problems_of(error: ValidationError, section: type[BaseModel], root: Node, path: KeyPath) -> list[Problem]:
    """The mistakes in words, that of a union once for each branch.

    path: where the section stands in the experiment's tree `root`.
    """
    try:
        schema = section.model_json_schema(by_alias=True)
    except PydanticInvalidForJsonSchema:  # a plug-in of one's own with a type of one's own
        schema = {}
    node = root.nearest(path)
    found = [(_data_path(node, each), each) for each in error.errors(include_url=False)]
    problems = []
    for inner, each in found:
        # A list with a wrong item is also "too short", and a map for `number | map` is also "no number".
        deeper = any(other[: len(inner)] == inner and len(other) > len(inner) for other, _ in found)
        if deeper and each["type"] not in SPECIAL:
            continue
        message = _message(each, inner, node, schema)
        problems.append(Problem(root.nearest((*path, *inner)).place, (*path, *inner), message))
    return problems


def _data_path(node: Node, error: ErrorDetails) -> KeyPath:
    """The error's location without the names that pydantic puts in for the branches of a union."""
    path: list[str | int] = []
    last = len(error["loc"]) - 1
    for number, key in enumerate(error["loc"]):
        inner = node.child(key)
        if inner is None and not (number == last and error["type"] == "missing"):
            continue
        node = inner or node
        path.append(key)
    return tuple(path)


def _message(error: ErrorDetails, path: KeyPath, node: Node, schema: Schema) -> str:
    if error["type"] == "extra_forbidden":
        known = list(_map_at(schema, path[:-1]).get("properties", {}))
        key = str(path[-1])
        return f"unknown key `{key}`; expected one of {listed(known)}{did_you_mean(key, known)}"
    if error["type"] == "missing":
        return f"missing; expected {described(_schema_at(schema, path, schema), schema)}"
    if error["type"] in SPECIAL:
        text = error["msg"].partition(", ")[2] or error["msg"]
        value = node.nearest(path).plain()
        return text if isinstance(value, dict) else f"found {shown(value)}; {text}"
    if error["loc"][-1:] == ("[key]",):
        names = _map_at(schema, path[:-1]).get("propertyNames", {})
        return f"found the name `{path[-1]}`; expected {described(names, schema)}{_near(str(path[-1]), names)}"
    wanted, value = _schema_at(schema, path, schema), node.nearest(path).plain()
    expected = f"expected {described(wanted, schema)}{_near(value, wanted)}" if wanted else error["msg"]
    return f"found {shown(value)}; {expected}"


def _near(value: object, schema: Schema) -> str:
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return did_you_mean(value, map(str, choices)) if isinstance(value, str) else ""


def _schema_at(schema: Schema, path: KeyPath, root: Schema) -> Schema:
    """The JSON Schema of the value at the path; of a union, the branch that has the next key."""
    schema = _resolved(schema, root)
    if not path:
        return schema
    for branch in (_resolved(one, root) for one in schema.get("anyOf", [schema])):
        if isinstance(path[0], int):
            prefix = branch.get("prefixItems", [])
            inner = prefix[path[0]] if path[0] < len(prefix) else branch.get("items")
        else:
            every = [*branch.get("patternProperties", {}).values(), branch.get("additionalProperties")]
            inner = branch.get("properties", {}).get(path[0], every[0])
        if isinstance(inner, dict):
            return _schema_at(inner, path[1:], root)
    return {}


def _map_at(schema: Schema, path: KeyPath) -> Schema:
    """The JSON Schema of the map at the path; of a union, the branch that is a map."""
    found = _schema_at(schema, path, schema)
    branches = [_resolved(branch, schema) for branch in found.get("anyOf", [found])]
    return next((branch for branch in branches if branch.get("type") == "object"), {})


def _resolved(schema: Schema, root: Schema) -> Schema:
    if "$ref" in schema:
        found: Schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def described(schema: Schema, root: Schema) -> str:
    """What a JSON Schema allows, in words: `an integer greater than 0`."""
    schema = _resolved(schema, root)
    if "anyOf" in schema:
        return ", or ".join(described(branch, root) for branch in schema["anyOf"])
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
