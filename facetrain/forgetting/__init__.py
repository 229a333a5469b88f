"""One person out of everything: lists, inputs, models and reports, and a record that it was done."""
