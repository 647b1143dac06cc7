"""The LLM client actor, and the endpoints that it calls."""
