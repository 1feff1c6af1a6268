"""Small programs by other vendors, and the rig that runs a node beside them."""
