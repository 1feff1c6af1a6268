"""What Hotpair costs beside others, measured side by side in one run; see README.md."""
