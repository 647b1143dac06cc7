"""The stores: the databases under the journal, behind one protocol."""
