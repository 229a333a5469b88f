"""`facetrain dataset check` of a detector's data: pictures, and YOLO's label files beside them."""
