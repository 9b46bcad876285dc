"""Results on their way out: couriers, types of destination, storage commitment."""
