"""Confines the files that callers of the API have sent to an endpoint."""

from __future__ import annotations

from actors.core.errors import ConfigError
from cluster.config.model import HeadraceConfig


def confined(config: HeadraceConfig) -> HeadraceConfig:
    """Return `config` with the places of files that its author allows callers to read, and no others.

    A caller names places. Without an explicit choice they would be the working directory of the service,
    what its cloud credentials can read, and every public address. Raises `ConfigError`.
    """
    attachments = config.llm.attachments
    if not any(step.attach for step in config.asked_steps):
        return config
    if "directory" not in attachments.model_fields_set:
        raise ConfigError(
            "evaluate.attach lets callers read files: "
            "set llm.attachments.directory to the folder that they may read"
        )
    if attachments.urls is not None:
        return config
    llm = config.llm.model_copy(update={"attachments": attachments.model_copy(update={"urls": ()})})
    return config.model_copy(update={"llm": llm})
