"""What serves: the platforms, the models and the objects that they are made of."""
