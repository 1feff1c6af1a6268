"""site.yaml, node.yaml and point CSVs become a frozen configuration, or every mistake by line."""
