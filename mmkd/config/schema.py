"""JSON Schemas (draft 2020-12), from which editors complete and explain keys: of experiments, and of other files.

What an experiment file lacks may come from its base, so nothing is required here; `load` says what is missing.
"""

from __future__ import annotations

import re
from inspect import cleandoc
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from mmkd.config import plugins
from mmkd.config.document import NAMED_MAPS
from mmkd.config.experiment import PLUGIN_MAPS, Experiment
from mmkd.config.section import Section

PLUGIN_SECTIONS = (*PLUGIN_MAPS, "weighting")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """A new JSON Schema with a branch for each kind of task, teacher, loss and weighting that is installed."""
    classes = {(key, kind): plugins.config_class(key, kind) for key in PLUGIN_SECTIONS for kind in plugins.kinds(key)}
    mode: JsonSchemaMode = "validation"
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (Experiment, mode),
        *((one, mode) for one in classes.values()),
    ]
    references, shared = models_json_schema(models, schema_generator=_WithKeyDescriptions)
    definitions = shared["$defs"]
    for definition in definitions.values():
        definition.pop("required", None)

    # A plug-in of one's own is any importable module, and its keys are its own affair.
    elsewhere = {"type": "object", "properties": {"kind": {"type": "string", "pattern": r"\."}}, "required": ["kind"]}
    branches: dict[str, list[JsonSchemaValue]] = {key: [] for key in PLUGIN_SECTIONS}
    for (key, kind), model in classes.items():
        # pydantic's name for a Config depends on whether its whole file was imported before.
        definition = definitions.pop(references[model, mode]["$ref"].rpartition("/")[2])
        definition["title"] = f"{key}: {kind}"
        definition["properties"]["kind"] = {"const": kind}
        definitions[f"{key}.{kind}"] = definition
        branches[key].append({"$ref": f"#/$defs/{key}.{kind}"})

    root = definitions.pop(Experiment.__name__)
    properties = root["properties"]
    properties["extends"] = {"type": "string", "description": "A base file, relative to this one."}
    properties["weighting"] = {"anyOf": [*branches["weighting"], elsewhere]}
    for key in NAMED_MAPS:
        ((pattern, entry),) = properties[key]["patternProperties"].items()
        kinds = [*branches[key], elsewhere] if key in PLUGIN_MAPS else [entry]
        entries = {"anyOf": [*kinds, {"type": "null", "description": "Removes the entry that the base has."}]}
        properties[key] = {"type": "object", "patternProperties": {pattern: entries}, "additionalProperties": False}
    return {"$schema": DIALECT, **root, "$defs": definitions}


def section_schema(section: type[Section]) -> dict[str, Any]:
    """The JSON Schema of a file that is one section, as a sweep file."""
    return {"$schema": DIALECT, **section.model_json_schema(schema_generator=_WithKeyDescriptions)}


class _WithKeyDescriptions(GenerateJsonSchema):
    """Takes the description of each key from its section's docstring."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        for key, text in key_descriptions(schema["cls"]).items():
            if key in result["properties"]:
                result["properties"][key].setdefault("description", text)
        return result


def key_descriptions(section: type[BaseModel]) -> dict[str, str]:
    """What the docstrings of a section and of those that it derives from say about each key: `lr: peak ... rate.`"""
    found: dict[str, str] = {}
    for each in section.__mro__:
        if issubclass(each, Section) and each.__doc__:
            pieces = re.split(r"(?:\A|(?<=\n)|(?<=\. ))((?:\w+, )*\w+): ", cleandoc(each.__doc__))
            for names, text in zip(pieces[1::2], pieces[2::2], strict=True):
                for name in names.split(", "):
                    found.setdefault(name, " ".join(text.split()))
    return found
