"""Tools that make, check and pack datasets on the machine where the photographs are; nothing is sent."""
