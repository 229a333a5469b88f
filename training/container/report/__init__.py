"""What every report is made of: charts, figures as people read them, and the style of the page."""
