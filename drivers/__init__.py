"""The protocols: one folder each, behind the port in gateway.driver."""
