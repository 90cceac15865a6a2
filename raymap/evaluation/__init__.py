"""Numbers, intervals, pictures and one HTML report: arrays in, results out; knows no model."""
