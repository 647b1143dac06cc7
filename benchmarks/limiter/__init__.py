"""The limiter in a simulation and over HTTP, beside other limiters."""
