"""A package of its own, for the SageMaker SDK brings another one of this name into site-packages."""
