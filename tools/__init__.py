"""Programs for the development of Headrace: a headless browser, and the pictures of the documentation."""
