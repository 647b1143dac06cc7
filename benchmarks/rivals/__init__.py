"""Other ways to do W1: the contenders that Headrace is compared with."""
