"""What the configuration says about spans."""

from __future__ import annotations

from cluster.assembly.telemetry import trace_settings
from cluster.config.model import HeadraceConfig

STEPS = (
    {
        "name": "label",
        "prompt": "Rate {text}",
        "endpoint": "chat",
        "output": {"score": {"type": "number", "min": 0, "max": 1}},
    },
    {"kind": "embedding", "name": "embedding", "input": "{text}", "endpoint": "vectors"},
    {"kind": "rerank", "name": "relevance", "query": "{text}", "document": "{id}", "endpoint": "reranker"},
)


def test_the_calls_of_a_step_that_is_no_chat_have_an_operation_of_their_own():
    names = ("chat", "vectors", "reranker")
    config = HeadraceConfig.model_validate(
        {
            "sources": ({"kind": "simulated", "name": "wire"},),
            "llm": {
                "endpoints": tuple(
                    {"name": name, "base_url": "http://127.0.0.1:1/v1", "model": "m"} for name in names
                )
            },
            "evaluate": STEPS,
            "dimensions": ({"name": "score", "field": "score"},),
            "telemetry": {"traces": {"endpoint": "http://127.0.0.1:4318"}},
        }
    )
    operations = trace_settings(config, "life").rules.operations
    assert operations == {"evaluate:embedding": "embeddings", "evaluate:relevance": "rerank"}
