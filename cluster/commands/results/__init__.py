"""Commands that let people look at results and judge them."""
