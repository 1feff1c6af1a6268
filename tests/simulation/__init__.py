"""One seed, one world: two nodes with faulty clocks, links, disks and devices, and its judges."""
