"""Random programs of ops on a device, against the reference: what no row of the tables tries."""
