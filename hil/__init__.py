"""The rig: emulated outstations, faults and judges. It imports no I/O of the gateway or drivers."""
