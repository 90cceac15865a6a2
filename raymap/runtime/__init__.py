"""Ray Train, Ray Tune and MLflow: the only room that knows them."""
