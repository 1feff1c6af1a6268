"""Reading the logs that Modbus devices keep: one module a method, all of them sans-IO."""
