"""The report page: one HTML file of a run. `assets` holds its template, styles and scripts."""
