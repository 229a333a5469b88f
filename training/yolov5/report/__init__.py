"""report.html of a detector: `page` renders it."""
