"""The variables that send Google's client to an emulator."""

from __future__ import annotations


def emulator_environ(endpoint: str) -> dict[str, str]:
    return {"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": endpoint, "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}
