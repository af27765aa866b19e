"""Network energies of 2-D toys, with every treatment of F: figures of Sevekari et al."""
