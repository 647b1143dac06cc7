"""The request formats that endpoints speak."""
