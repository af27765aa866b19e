"""MNIST energies in coordinates where K stages overlap: samples, distances, likelihoods."""
