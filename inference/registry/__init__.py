"""What MLflow's registry says of model versions, and bringing one of them here."""
