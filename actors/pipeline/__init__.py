"""The pipeline actor: runs tasks through collect, evaluate, generate and combine."""
