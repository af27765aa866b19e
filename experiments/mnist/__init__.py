"""MNIST: a ResNet energy against a Gaussian with the data's mean and covariance, by every treatment
of F.
"""
