"""Published denoisers of color images as samplers that learn from a critic."""
