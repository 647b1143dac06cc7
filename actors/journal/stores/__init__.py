"""The databases under the journal."""
