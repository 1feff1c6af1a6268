"""HistoryRead raw of a server's own history: pure, told by `drivers.opcua.history` what came."""
