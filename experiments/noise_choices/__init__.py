"""Which noise distribution to choose: seven noises at one budget, in the plane and on digits."""
