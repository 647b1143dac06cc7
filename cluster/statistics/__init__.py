"""Pure statistics of results: intervals, agreement, calibration, significance."""
