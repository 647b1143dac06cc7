"""The journal actor: commits what actors record, and answers what is durable."""
