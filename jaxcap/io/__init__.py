"""Files, downloads, locks and what is printed."""
