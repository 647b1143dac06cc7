"""The pipeline actor: takes tasks through collect, evaluate, generate and combine."""
