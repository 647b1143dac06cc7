"""Who answers a call: language-model endpoints."""
