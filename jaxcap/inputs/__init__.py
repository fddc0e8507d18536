"""From splits to batches: photos, views, features and the order in which they come."""
