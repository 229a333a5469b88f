"""What a training job is: manifest, configuration, contract and request. Standard library only, no I/O."""
