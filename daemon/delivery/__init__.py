"""How results leave: couriers, types of destination, storage commitment."""
