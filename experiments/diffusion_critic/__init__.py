"""Diffusion samplers of few steps, trained against critics: what M and a solved F buy them."""
