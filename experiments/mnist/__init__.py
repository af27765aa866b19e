"""MNIST: a ResNet energy against a fitted Gaussian, trained with every treatment of F."""
