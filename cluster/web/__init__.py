"""Parts that all pages share: styles, scripts, uPlot, the policy of a page, and the writing of its file."""
