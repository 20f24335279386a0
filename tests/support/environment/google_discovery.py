"""Checks requests and answers against the discovery documents of Google's APIs, as google-api-python-client ships
them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from remote_runtime.demo.gcp_api.values import Exchange

Json = dict[str, Any]

_INTEGER_RANGES = {
    "int32": (-(2**31), 2**31),
    "uint32": (0, 2**32),
    "int64": (-(2**63), 2**63),
    "uint64": (0, 2**64),
}
_DOCUMENTS = ("compute.v1", "oslogin.v1", "cloudresourcemanager.v1", "serviceusage.v1", "cloudbilling.v1")
# Documented for all Google APIs, https://cloud.google.com/apis/docs/system-parameters, but not in the document.
_SYSTEM_PARAMETERS = {"$alt"}


def complaints(exchange: Exchange) -> list[str]:
    """What in ``exchange`` the document does not allow. An error's answer is held against Google's error shape."""
    method = _method_for(exchange.http_method, exchange.path)
    if method is None:
        found = [f"no method for {exchange.http_method} {exchange.path}"]
        return found if exchange.status < 400 else []
    found = [] if exchange.method_id in ("", method["id"]) else [f"taken for {exchange.method_id}"]
    if exchange.status < 400:
        found += _query_complaints(method, exchange.query)
        found += _path_complaints(method, exchange.path)
        found += _body_complaints(method, exchange.body)
        found += _complaints(method["response"], exchange.answer, "answer")
    else:
        found += _complaints(_ERROR, exchange.answer, "answer")
        code = exchange.answer.get("error", {}).get("code")
        found += [] if code == exchange.status else [f"error code {code} with HTTP status {exchange.status}"]
    return [f"{method['id']}: {complaint}" for complaint in found]


def method_ids() -> set[str]:
    return {method["id"] for method in _methods()}


_TEXT = {"type": "string"}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "integer"},
                "message": _TEXT,
                "status": _TEXT,
                "errors": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "message": _TEXT,
                            "domain": _TEXT,
                            "reason": _TEXT,
                            "location": _TEXT,
                            "locationType": _TEXT,
                        },
                    },
                },
            },
        }
    },
}


def _query_complaints(method: Json, query: Mapping[str, str]) -> Iterator[str]:
    known = {**_document()["parameters"], **method["parameters"]}
    for name, text in query.items():
        # returnPartialSuccess stands only in the descriptions; the real gcloud sends it.
        if name in _SYSTEM_PARAMETERS or f"`{name}`" in method["description"]:
            continue
        if name not in known or known[name]["location"] != "query":
            yield f"unknown parameter {name}"
        else:
            yield from _complaints(known[name], _parsed(known[name], text), f"parameter {name}")
    for name, parameter in method["parameters"].items():
        if parameter["location"] == "query" and parameter.get("required") and name not in query:
            yield f"parameter {name} is missing"


def _parsed(parameter: Json, text: str) -> object:
    if parameter["type"] == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    if parameter["type"] == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text


def _path_complaints(method: Json, path: str) -> Iterator[str]:
    match = _path_pattern(method["flatPath"]).fullmatch(path)
    for name, value in (match.groupdict() if match else {}).items():
        # OS Login's flat paths name parts of a parameter.
        pattern = method["parameters"].get(name, {}).get("pattern", ".*")
        if not re.fullmatch(pattern, value):
            yield f"{name} {value!r} does not fit {pattern}"


def _body_complaints(method: Json, body: Json | None) -> Iterator[str]:
    if body is not None and "request" not in method:
        yield "a body that the method does not take"
    elif "request" in method:
        yield from _complaints(method["request"], body, "body")


def _complaints(schema: Json, value: object, where: str) -> Iterator[str]:
    if "$ref" in schema:
        schema = _document()["schemas"][schema["$ref"]]
    kind = schema["type"]
    python_type: Json = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "boolean": bool,
        "number": (int, float),
    }
    if kind == "any":
        return
    if not isinstance(value, python_type[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield f"{where} is not of type {kind}: {value!r}"
    elif isinstance(value, dict):
        yield from _property_complaints(schema, value, where)
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _complaints(schema["items"], element, f"{where}[{index}]")
    else:
        yield from _scalar_complaints(schema, value, where)


def _property_complaints(schema: Json, value: Json, where: str) -> Iterator[str]:
    for name, element in value.items():
        known = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if known is None:
            yield f"{where} has an unknown property {name}"
        else:
            yield from _complaints(known, element, f"{where}.{name}")


def _scalar_complaints(schema: Json, value: object, where: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is none of the values allowed: {value!r}"
    if "pattern" in schema and not re.fullmatch(schema["pattern"], str(value)):
        yield f"{where} does not fit {schema['pattern']}: {value!r}"
    form = schema.get("format", "")
    if form in _INTEGER_RANGES:
        low, high = _INTEGER_RANGES[form]
        if not re.fullmatch(r"-?\d+", str(value)) or not low <= int(str(value)) < high:
            yield f"{where} is not an {form}: {value!r}"
    elif form == "byte":
        try:
            base64.b64decode(str(value).replace("-", "+").replace("_", "/"), validate=True)
        except ValueError:
            yield f"{where} is not base64: {value!r}"


def _method_for(http_method: str, path: str) -> Json | None:
    """Of several, the one whose path has the fewest placeholders: ``…/getEffectiveFirewalls`` before ``…/{policy}``."""
    for method in _methods_with(http_method, path.count("/")):
        if _path_pattern(method["flatPath"]).fullmatch(path):
            return method
    return None


@cache
def _methods_with(http_method: str, slashes: int) -> list[Json]:
    found = [method for method in _methods() if method["httpMethod"] == http_method]
    found = [method for method in found if method["flatPath"].count("/") == slashes]
    return sorted(found, key=lambda method: str(method["flatPath"]).count("{"))


@cache
def _path_pattern(flat_path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", flat_path))


@cache
def _methods() -> list[Json]:
    return list(_methods_of(_document()))


def _methods_of(resource: Json) -> Iterator[Json]:
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from _methods_of(inner)


@cache
def _document() -> Json:
    """All documents as one. Names of schemas mean something else in each, so they begin with the document's."""
    import googleapiclient  # type: ignore[import-untyped]  # it publishes no types

    folder = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    merged: Json = {"schemas": {}, "parameters": {}, "resources": {}}
    for name in _DOCUMENTS:
        text = (folder / f"{name}.json").read_text(encoding="utf-8")
        document = json.loads(re.sub(r'"\$ref": "', f'"$ref": "{name}:', text))
        merged["schemas"] |= {f"{name}:{schema}": value for schema, value in document["schemas"].items()}
        merged["parameters"] |= document["parameters"]
        merged["resources"][name] = document
    return merged
