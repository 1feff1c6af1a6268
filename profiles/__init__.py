"""Register maps and log layouts as data: one YAML file a device family, each with its source."""
